"""Label Studio payloads gone wrong in every way a page, a plugin or a later version might send them.

From a recorded `/predict` body and a generator, one that differs in one to six places: values replaced by junk, keys
missing, lists cut or multiplied, shapes of other recordings added, ids that collide. Also says what must come back.
Knows nothing of how the backend answers.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from regiontext.labelstudio.checks import SHAPE_KEYS
from regiontext.labelstudio.decode import is_shape
from regiontext.labelstudio.leaks import is_bare, leaked

__all__ = ["leaks_in", "lost", "mutants", "nonsense", "recorded"]

Body = dict[str, Any]

_FIXTURES = Path(__file__).parents[1] / "fixtures" / "label_studio"
_JUNK: tuple[Any, ...] = (
    None, "", " ", "a" * 5000, "\ud800", "\x00", "<b>", "NaN", True, False, 0, -1, 1, 2**31, 2**70, -0.0, 1e308,
    -1e308, float("nan"), float("inf"), 50.5, [], {}, [[]], [None], {"": None}, [1, 2], {"text": 1}, ["x"] * 200,
)  # fmt: skip


def recorded() -> dict[str, Body]:
    """The bodies of the recorded `/predict` calls, by the file's name."""
    files = sorted(_FIXTURES.glob("request_predict_*.json"))
    return {file.stem: json.loads(file.read_text())["body"] for file in files}


def mutants(bodies: Sequence[Body], count: int, seed: int) -> Iterator[Body]:
    """`count` changed copies of the bodies, in turn; the same for the same seed."""
    rng = random.Random(seed)
    shapes = _recorded_shapes()
    for number in range(count):
        body = copy.deepcopy(bodies[number % len(bodies)])
        # A task of its own: what waits from an earlier call must not stand in for a region that is lost.
        for task in body["tasks"]:
            task["id"] = 1000 + number
        context = (body.get("params") or {}).get("context")
        if context and rng.random() < 0.5:
            _add_shapes(context["result"], shapes, rng)
        for _ in range(rng.randint(0 if context else 1, 6)):
            rng.choice(_CHANGES)(body, rng)
        yield body


def lost(body: Body, answer: Any) -> list[str]:
    """Ids of shapes the page would lose: sent in the context, and not in the answer under their id.

    A prompt drawn around or clicked on a region that is known already hands its place to that region, so then one of
    the regions known from drafts and annotations has to be there instead. Null loses nothing, but is right only where
    the page would relabel whatever it accepts.
    """
    params = body.get("params")
    context = params.get("context") if isinstance(params, dict) else None
    sent = context.get("result") if isinstance(context, dict) else None
    if not isinstance(sent, list):
        return []
    ids = [item.get("id") for item in sent if isinstance(item, dict) and _is_region(item)]
    ids = [id for id in ids if isinstance(id, str)]
    results = answer["results"][0]["result"]
    if results is None:
        everything = [*_dicts(sent), *_dicts(body.get("tasks"))]
        return [] if any(map(is_bare, everything)) else [repr(id)[:80] for id in ids]
    back = [item.get("id") for item in results if isinstance(item, dict) and is_shape(item)]
    known = [item.get("id") for item in _dicts(body.get("tasks")) if is_shape(item)]
    instead = [id for id in back if id in known]
    return [repr(id)[:80] for id in ids if id not in back and not instead]


def leaks_in(answer: Any) -> int:
    """How many labels in an answer, interactive or batch, are not their region's own."""
    entries = [entry for entry in answer["results"] if isinstance(entry, dict)]
    return sum(len(leaked(entry.get("result") or [])) for entry in entries)


def _is_region(item: Mapping[str, Any]) -> bool:
    return is_shape(item) and not is_bare(item)


def nonsense(rng: random.Random) -> Callable[[str, list[str]], str]:
    """What a model might say that has lost its mind, for `StubModel.say`."""
    words = [
        "",
        " ",
        "\n",
        "\x00",
        "\ud800",
        "a" * 100_000,
        "null",
        "<b>x</b>",
        "{}",
        "no",
        "Ω" * 300,
    ]
    return lambda prompt, options: rng.choice([*words, *options[:1], prompt])


def _recorded_shapes() -> list[Body]:
    found = []
    for file in sorted(_FIXTURES.glob("*.json")):
        found += [item for item in _dicts(json.loads(file.read_text())) if is_shape(item)]
    return found


def _dicts(value: Any) -> Iterator[Body]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _dicts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _dicts(inner)


def _add_shapes(results: Any, shapes: Sequence[Body], rng: random.Random) -> None:
    for _ in range(rng.randint(1, 4)):
        shape = copy.deepcopy(rng.choice(shapes))
        if rng.random() < 0.8:
            shape["id"] = f"new{rng.randrange(10**6)}"
        results.append(shape)


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        found.append((value, key))
        if isinstance(inner, dict | list):
            _places(inner, found)
    return found


def _place(body: Body, rng: random.Random) -> tuple[Any, Any]:
    """Somewhere in the body; in what the page drew twice as often as elsewhere."""
    context = body.get("params")
    inner = context.get("context") if isinstance(context, dict) else None
    results = inner.get("result") if isinstance(inner, dict) else None
    if isinstance(results, list) and results and rng.random() < 0.6:
        return rng.choice(_places(results, []))
    return rng.choice(_places(body, []))


def _replace(body: Body, rng: random.Random) -> None:
    holder, key = _place(body, rng)
    holder[key] = copy.deepcopy(rng.choice(_JUNK))


def _remove(body: Body, rng: random.Random) -> None:
    holder, key = _place(body, rng)
    del holder[key]


def _multiply(body: Body, rng: random.Random) -> None:
    holder, key = _place(body, rng)
    if isinstance(holder[key], list):
        holder[key] = holder[key] * rng.choice((0, 2, 20))
    elif isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(holder[key]))


def _swap(body: Body, rng: random.Random) -> None:
    (one, a), (two, b) = _place(body, rng), _place(body, rng)
    one[a], two[b] = copy.deepcopy(two[b]), copy.deepcopy(one[a])


def _nest(body: Body, rng: random.Random) -> None:
    holder, key = _place(body, rng)
    for _ in range(rng.choice((1, 3, 60))):
        holder[key] = [holder[key]]


def _text(body: Body, rng: random.Random) -> None:
    holder, key = _place(body, rng)
    holder[key] = json.dumps(holder[key], default=str)


def _leak(body: Body, rng: random.Random) -> None:
    """A label that the page writes onto some other result when it accepts an answer."""
    kind = rng.choice(("rectanglelabels", "keypointlabels", "brushlabels", "polygonlabels"))
    lists = [value for value in _lists(body) if any(isinstance(item, dict) for item in value)]
    results = rng.choice(lists) if lists else []
    onto = [
        item for item in results if isinstance(item, dict) and isinstance(item.get("value"), dict)
    ]
    if onto:
        item = rng.choice(onto)
        labels = {kind: ["Car"]}
        geometry = {k: v for k, v in item["value"].items() if k in SHAPE_KEYS}
        results.append({**item, "from_name": kind, "type": kind, "value": {**geometry, **labels}})


def _lists(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _lists(one)


_CHANGES: tuple[Callable[[Body, random.Random], None], ...] = (
    _replace, _replace, _replace, _remove, _remove, _multiply, _swap, _nest, _text, _leak,
)  # fmt: skip
