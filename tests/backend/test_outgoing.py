"""What leaves the backend while an annotator works, and what the page keeps for itself."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backend.outgoing import entry_of, regional
from regiontext.labelstudio.leaks import leaked

BOX = {"x": 1, "y": 2, "width": 3, "height": 4, "rotation": 0}


def item(id: str, type: str, **value: Any) -> dict[str, Any]:
    return {"id": id, "from_name": type, "to_name": "img", "type": type, "value": value}


KINDS = [
    ("rectanglelabels", BOX | {"rectanglelabels": ["Car"]}),
    ("rectanglelabels", {"rectanglelabels": ["Car"]}),
    ("rectanglelabels", {"points": [[1, 2]], "rectanglelabels": ["Car"]}),
    ("polygonlabels", {"points": [[1, 2]], "polygonlabels": ["Car"]}),
    ("keypointlabels", BOX | {"keypointlabels": ["Car"]}),
    ("textarea", BOX | {"text": ["a car"]}),
    ("textarea", {"text": ["caption all"]}),
    ("choices", {"choices": ["steel"]}),
]
ITEMS = st.builds(
    lambda id, kind: item(id, kind[0], **kind[1]), st.sampled_from("abc"), st.sampled_from(KINDS)
)


@given(st.lists(ITEMS, max_size=8))
def test_nothing_leaves_with_a_label_that_is_not_its_regions(results: list[dict[str, Any]]) -> None:
    sent = entry_of(results)["result"]
    assert sent != [] and leaked(sent or []) == []
    assert all(one in results for one in sent or [])


def test_fields_of_regions_are_kept_and_those_of_the_whole_image_are_not() -> None:
    shape = item("a", "rectanglelabels", **BOX, rectanglelabels=["Car"])
    kept = [
        shape,
        item("a", "textarea", **BOX, text=["x"]),
        item("a", "choices", choices=["steel"]),
        # A region's, whose shape is not here.
        item("b", "textarea", **BOX, text=["x"]),
        item("c", "something", other=1),
    ]
    whole = [item("p", "textarea", text=["caption all"]), item("q", "rating", rating=3)]
    odd: list[dict[str, Any]] = [{"type": []}, {"id": [], "type": "rectanglelabels"}]
    assert regional([*whole, *kept, *odd]) == [*kept, *odd]
