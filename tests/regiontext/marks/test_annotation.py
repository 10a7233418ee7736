from __future__ import annotations

from typing import Any

import pytest

from regiontext.errors import MarkError
from regiontext.marks.annotation import find_results

SHAPE = {"id": "r1", "type": "rectanglelabels", "value": {}}
OTHER = {"id": "r2", "type": "ellipselabels", "value": {}}


def annotation(id: int, *results: dict[str, Any], cancelled: bool = False) -> dict[str, Any]:
    return {"id": id, "result": list(results), "was_cancelled": cancelled}


def task(id: int, image: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {"id": id, "data": {"image": image}, "annotations": list(annotations)}


FIRST = task(1, "/data/upload/2/1a2b3c-street.png", annotation(5, SHAPE))
SECOND = task(2, "s3://bucket/deep/yard%20one.jpg?x=1", annotation(6, OTHER))
EXPORT = [FIRST, SECOND]


@pytest.mark.parametrize(
    "data",
    [[SHAPE], annotation(5, SHAPE), [annotation(5, SHAPE), annotation(6, OTHER)], FIRST, [FIRST]],
)
def test_results_are_found_at_every_depth(data: object) -> None:
    assert find_results(data) == [SHAPE]


def test_the_task_of_an_export_is_found_by_its_image_or_its_id() -> None:
    assert find_results(EXPORT, image_name="street.png") == [SHAPE]
    assert find_results(EXPORT, image_name="yard one.jpg") == [OTHER]
    assert find_results(EXPORT, image_name="street.png", task=2) == [OTHER]


def test_a_task_with_several_images_is_found_by_any_of_them() -> None:
    pages = {"id": 3, "data": {"pages": ["a.png", "/x/b.png"]}, "annotations": [annotation(7)]}
    assert find_results([FIRST, pages], image_name="b.png") == []


def test_part_of_a_name_is_no_match() -> None:
    with pytest.raises(MarkError, match=r"0 of 2 tasks whose data names 'treet.png'.*1, 2"):
        find_results(EXPORT, image_name="treet.png")


def test_which_task_is_meant_must_be_clear() -> None:
    with pytest.raises(MarkError, match=r"2 of 2 tasks.*'street.png'"):
        find_results([FIRST, FIRST], image_name="street.png")
    with pytest.raises(MarkError, match="0 of 2 tasks with id 9"):
        find_results(EXPORT, task=9)
    with pytest.raises(MarkError, match=r"0 of 30 tasks.*, 20, \.\.\."):
        find_results([task(id, "x.png") for id in range(1, 31)], image_name="y.png")


def test_the_first_annotation_that_was_not_cancelled_counts() -> None:
    several = task(1, "a.png", annotation(5, OTHER, cancelled=True), annotation(6, SHAPE))
    assert find_results(several) == [SHAPE]
    assert find_results(several, annotation=5) == [OTHER]
    with pytest.raises(MarkError, match="no annotation with id 7; it has 5, 6"):
        find_results(several, annotation=7)
    with pytest.raises(MarkError, match="no annotation that was submitted; it has none"):
        find_results(task(1, "a.png"))


@pytest.mark.parametrize(
    "data",
    [
        None,
        7,
        "text",
        [],
        {},
        [1, 2],
        # JSON-MIN has the regions by control name.
        [{"id": 1, "image": "a.png", "label": [{"x": 1}]}],
    ],
)
def test_anything_else_is_refused_with_advice(data: object) -> None:
    with pytest.raises(MarkError, match=r"no results found.*JSON-MIN"):
        find_results(data)


def test_a_result_that_is_no_list_is_refused() -> None:
    with pytest.raises(MarkError, match="annotation 5 has no list"):
        find_results({"id": 5, "result": "r"})
    with pytest.raises(MarkError, match="task 1 has no annotation"):
        find_results({"id": 1, "annotations": "none"})
