"""From questions and answers to figures: shares of right answers, by slice; the controls; how far confidences hold.

Pure. Knows nothing of servers or of pictures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from model_server.regionbench.ask import Said
from model_server.regionbench.items import Item
from model_server.worlds import vocabulary
from regiontext.metrics.calibration import (
    auroc,
    brier,
    ece,
    fit_isotonic,
    fit_temperature,
    reliability,
    with_temperature,
)

__all__ = ["Answered", "confidence", "figures", "fits_better", "right"]

Answered = tuple[Item, Said]


def right(item: Item, said: Said) -> bool:
    """Whether the answer is word for word the right one."""
    return said.text == item.answer


def fits_better(said: str, one: str, other: str) -> bool:
    """Whether the caption `said` shares more words in place with `one` than with `other`."""
    words = said.split()
    return _in_place(words, one) > _in_place(words, other)


def _in_place(words: Sequence[str], caption: str) -> int:
    # Articles are no words of the object, and "an" must not shift the rest.
    return sum(a == b for a, b in zip(words[1:], caption.split()[1:], strict=False))


def figures(answered: Sequence[Answered]) -> dict[str, Any]:
    """All figures of a run, as JSON values.

    "claims": the headline numbers; "asked": shares right by what was asked; "slices": by tag, of captions; "pairs":
    by right answer; "controls"; "confidence": see `confidence`. A part that was not asked is left out.
    """
    suites: dict[str, list[Answered]] = defaultdict(list)
    for each in answered:
        suites[each[0].suite].append(each)
    regions, pairs = suites["regions"], suites["pairs"]
    asked = _shares([*regions, *pairs], _name)
    captions = [each for each in regions if each[0].kind == "caption"]
    told: dict[str, Any] = {
        "asked": asked,
        "slices": {
            tag: _shares(captions, _tag(tag)) for tag in ("mark", "size", "objects", "hidden")
        },
        "pairs": {
            kind: _shares([e for e in pairs if e[0].kind == kind], lambda item: item.answer)
            for kind in ("relation", "same")
        },
        "controls": _controls(suites),
    }
    if suites["withheld"]:
        told["withheld"] = _shares(suites["withheld"], _name)
    if regions:
        told["confidence"] = confidence(regions, suites["agreement"])
    told["claims"] = _claims(told)
    return told


def _claims(told: Mapping[str, Any]) -> dict[str, float]:
    asked, controls = told["asked"], told["controls"]
    claims = {"caption_exact": asked.get("caption", {}).get("right")}
    for name in vocabulary.ATTRIBUTES:
        claims[name] = asked.get(f"attribute/{name}", {}).get("right")
    claims["relation"] = asked.get("relation", {}).get("right")
    claims["relation_same"] = asked.get("same", {}).get("right")
    claims["mark_removed"] = controls.get("removed", {}).get("right")
    claims["mark_moved"] = controls.get("moved", {}).get("follows")
    claims["unseen_kind"] = controls.get("unseen_kind", {}).get("ratio")
    claims["ece"] = told.get("confidence", {}).get("product", {}).get("ece")
    return {name: value for name, value in claims.items() if value is not None}


def _controls(suites: Mapping[str, Sequence[Answered]]) -> dict[str, Any]:
    """Shares right and that fit better; "chance" of a removed mark is the share right if marks told nothing.

    Such a model describes one of the objects that could be meant, as well as it describes them when they are marked:
    the mean over the marked items of 1 or 0 for right or wrong, times the share of those objects that have the caption.
    """
    controls: dict[str, Any] = {}
    for name in ("marked", "removed", "moved"):
        some = suites[name]
        if some:
            follows = [fits_better(said.text, item.answer, item.other) for item, said in some]
            controls[name] = _share(some) | {"follows": _rounded(np.mean(follows))}
    if suites["removed"] and suites["marked"]:
        guessed = [right(item, said) * item.meant for item, said in suites["marked"]]
        controls["removed"]["chance"] = _rounded(np.mean(guessed))
    unseen = suites["unseen_kind"]
    if unseen:
        by_kind = _shares(unseen, lambda item: item.tags["mark"])
        new = by_kind.pop("number")["right"]
        seen = float(np.mean([each["right"] for each in by_kind.values()]))
        controls["unseen_kind"] = {
            "right": new,
            "seen": _rounded(seen),
            "ratio": _rounded(new / seen if seen else 0.0),
            "n": len(unseen) // (len(by_kind) + 1),
        }
    return controls


def confidence(regions: Sequence[Answered], agreement: Sequence[Answered]) -> dict[str, Any]:
    """How far each signal tells right answers from wrong ones: ECE, Brier, AUROC, and ECE once calibrated.

    Calibration is fitted on the regions with even numbers and measured on the others. "product" and "mean" are over
    all questions, "margin" over closed ones, "agreement" over captions of regions drawn in several kinds of mark.
    """
    rows = {
        "product": [(item.region, said.product, right(item, said)) for item, said in regions],
        "mean": [(item.region, said.mean, right(item, said)) for item, said in regions],
        "product, captions": [
            (i.region, s.product, right(i, s)) for i, s in regions if i.kind == "caption"
        ],
        "product, closed": [
            (i.region, s.product, right(i, s)) for i, s in regions if s.margin is not None
        ],
        "margin, closed": [
            (i.region, s.margin, right(i, s)) for i, s in regions if s.margin is not None
        ],
    }
    if agreement:
        rows |= _agreement(agreement)
    return {name: _signal(some) for name, some in rows.items() if len(some) >= 10}


def _agreement(agreement: Sequence[Answered]) -> dict[str, list[tuple[int, float, bool]]]:
    """What of the answers about a region agrees with that about its first mark, and that times its probability."""
    regions: dict[int, list[Answered]] = defaultdict(list)
    for each in agreement:
        regions[each[0].region].append(each)
    alone, both, product = [], [], []
    for number, some in regions.items():
        item, said = some[0]
        share = Counter(other.text for _, other in some)[said.text] / len(some)
        whole = float(np.exp(np.mean([np.log(max(s.product, 1e-9)) for _, s in some])))
        alone.append((number, share, right(item, said)))
        both.append((number, share * whole, right(item, said)))
        product.append((number, said.product, right(item, said)))
    return {
        "agreement, captions": alone,
        "agreement x product, captions": both,
        "product, the same captions": product,
    }


def _signal(rows: Sequence[tuple[int, float, bool]]) -> dict[str, Any]:
    number, given, hits = (np.array(column) for column in zip(*rows, strict=True))
    fit, test = number % 2 == 0, number % 2 == 1
    told: dict[str, Any] = {
        "n": len(rows),
        "right": _rounded(hits.mean()),
        "ece": _rounded(ece(given, hits)),
        "brier": _rounded(brier(given, hits)),
        "auroc": None if hits.all() or not hits.any() else _rounded(auroc(given, hits)),
        "curve": [
            [_rounded(b.confidence), _rounded(b.right), b.count] for b in reliability(given, hits)
        ],
    }
    if fit.any() and test.any():
        temperature = fit_temperature(given[fit], hits[fit])
        stairs = fit_isotonic(given[fit], hits[fit])
        told |= {
            "ece_other_half": _rounded(ece(given[test], hits[test])),
            "temperature": _rounded(temperature),
            "ece_temperature": _rounded(
                ece(with_temperature(given[test], temperature), hits[test])
            ),
            "ece_isotonic": _rounded(ece(stairs.apply(given[test]), hits[test])),
        }
    return told


def _tag(tag: str) -> Callable[[Item], str]:
    return lambda item: item.tags[tag]


def _name(item: Item) -> str:
    return f"{item.kind}/{item.attribute}" if item.attribute else item.kind


def _shares(answered: Iterable[Answered], by: Callable[[Item], str]) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Answered]] = defaultdict(list)
    for each in answered:
        groups[by(each[0])].append(each)
    return {name: _share(groups[name]) for name in sorted(groups)}


def _share(answered: Sequence[Answered]) -> dict[str, Any]:
    return {
        "right": _rounded(np.mean([right(item, said) for item, said in answered])),
        "n": len(answered),
    }


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), 4)
