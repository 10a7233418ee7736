from __future__ import annotations

from typing import Any

import pytest

from regiontext.errors import MarkError
from regiontext.marks.annotation import find_results, without_doubles

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


def test_a_task_with_predictions_only_has_those() -> None:
    predicted = {"id": 8, "model_version": "m", "result": [SHAPE]}
    only = {"id": 1, "data": {"image": "a.png"}, "predictions": [predicted]}
    for data in (only, [only], only | {"annotations": []}):
        assert find_results(data) == find_results(data, task=1, annotation=8) == [SHAPE]
    assert find_results(only | {"annotations": [annotation(5, OTHER)]}) == [OTHER]
    with pytest.raises(MarkError, match="no annotation with id 9; it has 8"):
        find_results(only, annotation=9)
    with pytest.raises(MarkError, match="it has none"):
        find_results({"id": 1, "predictions": [8]})


def test_a_choice_that_cannot_be_made_is_refused() -> None:
    for choice in ({"task": 1}, {"annotation": 5}):
        with pytest.raises(MarkError, match=r"says nothing of .*leave the choice out"):
            find_results([SHAPE], **choice)
    several = [annotation(5, SHAPE) | {"task": 1}, annotation(6, OTHER) | {"task": 2}]
    assert find_results(several, task=2) == [OTHER]
    with pytest.raises(MarkError, match="none of 2 annotations is of task 3"):
        find_results(several, task=3)
    with pytest.raises(MarkError, match="no annotation with id 6; it has 5"):
        find_results(annotation(5, SHAPE), annotation=6)
    assert find_results(annotation(5, SHAPE, cancelled=True)) == [SHAPE]


def test_of_two_shapes_with_one_id_the_first_is_the_region_as_in_label_studio() -> None:
    here = SHAPE | {"value": {"x": 1, "rectanglelabels": ["Car"]}}
    labels = {"id": "r1", "type": "labels", "value": {"x": 1, "labels": ["Car"]}}
    bare = {"id": "r1", "type": "rectangle", "value": {"x": 1}}
    there = {"id": "r1", "type": "ellipselabels", "value": {"x": 9}}
    assert without_doubles([here, labels, bare, OTHER]) == ([here, labels, bare, OTHER], [])
    kept, doubles = without_doubles([here, there, OTHER])
    assert kept == [here, OTHER]
    assert len(doubles) == 1 and "'r1'" in doubles[0] and "shows the first" in doubles[0]
