"""What is done to regions between the saving of a draft and an answer about all of them is not taken back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from backend.assistant import Suggestion
from backend.fill import Target
from backend.fresh import draft_with, may_be_about, renewed
from backend.known import known_of
from regiontext.labelstudio.config import parse_config
from regiontext.labelstudio.decode import decode_region
from tests.backend.calls import rectangle, text

XML = """<View><Image name="img" value="$image"/>
  <RectangleLabels name="rect" toName="img"><Label value="Car"/></RectangleLabels>
  <TextArea name="caption" toName="img" perRegion="true"/>
  <TextArea name="prompt" toName="img" smart="true"/></View>"""
TYPED = {"id": "p", "from_name": "prompt", "type": "textarea", "value": {"text": ["caption all"]}}


def drafts_of(*answers: httpx.Response) -> tuple[httpx.AsyncClient, list[str]]:
    """A Label Studio that answers so, one after the other, the last for ever; and what it was asked."""
    asked: list[str] = []
    rest: Iterator[httpx.Response] = iter(answers[:-1])

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return next(rest, answers[-1])

    transport = httpx.MockTransport(answer)
    return httpx.AsyncClient(transport=transport, base_url="http://ls"), asked


def look(http: httpx.AsyncClient, seconds: float = 5.0) -> Any:
    return asyncio.run(draft_with(http, 7, TYPED, deadline=time.monotonic() + seconds))


def test_it_waits_for_the_draft_with_what_was_typed() -> None:
    before = httpx.Response(200, json=[{"id": 1, "result": []}])
    others = {"id": 2, "result": [TYPED | {"id": "q"}]}
    after = httpx.Response(200, json=[others, {"id": 1, "result": [rectangle("a"), TYPED]}])
    http, asked = drafts_of(before, after)
    assert look(http) == [rectangle("a"), TYPED]
    assert asked == ["/api/tasks/7/drafts"] * 2


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(403, json={"detail": "no"}),
        httpx.Response(200, content=b"<html>"),
    ],
)
def test_it_gives_up_at_once_where_there_is_nothing_to_wait_for(answer: httpx.Response) -> None:
    http, asked = drafts_of(answer)
    assert look(http) is None and len(asked) == 1


def test_it_gives_up_when_the_time_is_over() -> None:
    http, _ = drafts_of(httpx.Response(200, json=[]))
    began = time.monotonic()
    assert look(http, 0.3) is None and time.monotonic() - began < 2


def test_a_label_studio_that_hangs_does_not_use_up_the_time() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(30)
        return httpx.Response(200, json=[])

    http = httpx.AsyncClient(transport=httpx.MockTransport(hang), base_url="http://ls")
    began = time.monotonic()
    assert look(http, 0.3) is None and time.monotonic() - began < 2


def suggestion(region: str) -> Suggestion:
    return Suggestion(
        id=f"s-{region}",
        project=1,
        task=7,
        region=region,
        region_to=None,
        field="caption",
        value=("ours",),
        confidence=0.9,
        model_version="m",
    )


def test_what_was_typed_moved_or_deleted_meanwhile_stays_so() -> None:
    config = parse_config(XML)
    typed, moved, gone = rectangle("typed"), rectangle("moved"), rectangle("gone")
    targets = [Target(shape["id"], (shape,), renew=False) for shape in (typed, moved, gone)]
    suggestions = {target.id: [suggestion(target.id)] for target in targets}
    elsewhere = rectangle("moved", x=60.0)
    now = [typed, text(typed, ["my words"]), elsewhere, TYPED]
    (left,) = renewed(targets, now, suggestions, config, lambda *_: True)
    assert left.results == (elsewhere,)
    assert suggestions["moved"] and not suggestions["typed"]


@pytest.mark.parametrize(
    ("instruction", "ours", "kept"),
    [("in one word", True, True), ("in one word", False, False), (None, True, False)],
)
def test_our_own_words_that_came_meanwhile_are_written_anew_if_that_is_asked_for(
    instruction: str | None, ours: bool, kept: bool
) -> None:
    config, shape = parse_config(XML), rectangle("a")
    target = Target("a", (shape,), renew=False, instruction=instruction)
    suggestions = {"a": [suggestion("a")]}
    now = [shape, text(shape, ["a caption"]), TYPED]
    left = renewed([target], now, suggestions, config, lambda *what: ours)
    assert bool(left) is bool(suggestions["a"]) is kept


def half_drawn(**more: Any) -> dict[str, Any]:
    value = {"points": [[20, 20], [40, 20]], "closed": False, "polygonlabels": ["Car"]}
    kind = {"from_name": "polygon", "type": "polygonlabels", "value": value}
    return rectangle("half") | kind | more


def task_with(*results: dict[str, Any], held: str = "drafts") -> dict[str, Any]:
    holder = {"id": 1, "user": "a@b.c", "result": list(results)}
    return {"drafts": [], "annotations": [], "predictions": [], held: [holder]}


def test_a_polygon_that_is_being_drawn_is_not_among_what_is_known() -> None:
    half, whole = half_drawn(), half_drawn(id="whole")
    whole["value"] = whole["value"] | {"closed": True}
    known = known_of(task_with(half, whole, rectangle("a")))
    assert set(known.results.shapes) == {"whole", "a"} and known.unfinished == (half,)
    # Imported so, it is as finished as it gets.
    other = known_of(task_with(half, held="predictions"))
    assert set(other.results.shapes) == {"half"} and not other.unfinished


@pytest.mark.parametrize(
    ("shape", "about"),
    [
        (rectangle("around", x=10.0, y=10.0, width=50.0, height=50.0), True),
        (rectangle("beside", x=50.0, y=50.0, width=20.0, height=20.0), False),
        (
            rectangle("other image", x=10.0, y=10.0, width=50.0, height=50.0) | {"item_index": 1},
            False,
        ),
    ],
)
def test_a_rectangle_may_be_about_the_polygon_whose_corners_it_holds(
    shape: dict[str, Any], about: bool
) -> None:
    known = known_of(task_with(half_drawn()))
    assert may_be_about(decode_region(shape), known) is about
    assert may_be_about(None, known) is False


@pytest.mark.parametrize("points", [None, [], 7, [[1]], [["a", 1]], [[1, 2, 3]]])
def test_corners_that_make_no_sense_are_about_nothing(points: Any) -> None:
    half = half_drawn(value={"points": points, "closed": False})
    around = decode_region(rectangle("around", x=0.0, y=0.0, width=100.0, height=100.0))
    assert may_be_about(around, known_of(task_with(half))) is False
