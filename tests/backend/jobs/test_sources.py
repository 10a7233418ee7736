from __future__ import annotations

from typing import Any

from backend.jobs.sources import is_our_version, outdated, source_of
from backend.versions import model_version
from regiontext.labelstudio.config import parse_config
from regiontext.marks.view import View
from tests.backend.jobs.fakes import CONFIG, box, caption

OURS = "tiny@base+r1234567+q89abcde"
OLDER = "tiny@base+r1234567+q0000000"


def holder(id: int, result: list[dict[str, Any]], version: str | None = None) -> dict[str, Any]:
    return {"id": id, "result": result, "model_version": version, "updated_at": f"2026-01-0{id}"}


def test_the_versions_we_write_are_known_as_ours() -> None:
    config = parse_config(CONFIG)
    assert is_our_version(model_version("a/b:c", None, View(), config))
    assert is_our_version(model_version("tiny", "tiny:0001", View(scope="crop"), config))
    for other in ("detector", "", None, "undefined", "yolo@v8", "a@b+r1+q2", "tiny@x+rXXXXXXX+q1"):
        assert not is_our_version(other)


def test_the_newest_prediction_of_others_with_shapes_comes_first() -> None:
    boxes = [box("r1")]
    old, new = holder(1, boxes, "detector"), holder(2, boxes, None)
    ours = holder(4, boxes, OLDER)
    empty = holder(5, [caption("r1", "no shape")], "detector")
    draft = holder(6, boxes)
    assert source_of([old, new, ours, empty], [draft]) is new
    assert source_of([empty, ours], [draft]) is ours
    assert source_of([empty], [holder(3, []), draft]) is draft


def test_annotations_come_last_and_skipped_ones_never() -> None:
    boxes = [box("r1")]
    skipped = holder(2, boxes) | {"was_cancelled": True}
    submitted = holder(1, boxes)
    assert source_of([], [], [submitted, skipped]) is submitted
    assert source_of([], [], [skipped]) is None


def test_what_is_outdated() -> None:
    predictions = [
        holder(1, [], "detector"),
        holder(2, [], OLDER),
        holder(3, [], OLDER),
        holder(5, [], OURS),
        holder(4, [], OURS),
        holder(6, [], None),
    ]
    assert outdated(predictions, version=OURS, in_use=[]) == [2, 3, 5]
    assert outdated(predictions, version=OURS, in_use=[2, None, 5]) == [3]
    assert outdated(predictions[:1], version=OURS, in_use=[]) == []
