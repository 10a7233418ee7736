from __future__ import annotations

import pytest

from backend.jobs.slices import known_words, slices_of
from regiontext.records.record import Record
from regiontext.region import Region


def record(answer: str, suggested: str | None = None) -> Record:
    return Record(
        id="1-r-caption", project=1, task=1, annotation=1, image_hash="h", image="",
        size=(300, 100), regions=("r",), shapes=({},), labels=("Car",), field="caption",
        kind="open", wording="What is {mark}?", options=(), answer=(answer,), outcome="edited",
        arm="assist", suggested=(suggested,) if suggested else None,
    )  # fmt: skip


def box(width: float, height: float) -> Region:
    return Region.from_box("r", (0, 0, width, height), (300, 100), ["Car"])


@pytest.mark.parametrize(
    ("width", "height", "name"),
    [(9, 9, "size small"), (20, 20, "size medium"), (100, 50, "size large")],
)
def test_sizes_are_shares_of_the_image(width: float, height: float, name: str) -> None:
    assert slices_of(record("a car"), [box(width, height)]) == (name,)


def test_a_pair_is_as_small_as_its_smaller_region() -> None:
    assert slices_of(record("a car"), [box(100, 50), box(9, 9)]) == ("size small",)


def test_words_are_old_if_models_said_them() -> None:
    known = known_words([record("a zigzag car", "A plain car"), record("x")])
    assert known == {"a", "plain", "car"}
    assert slices_of(record("a CAR"), [], known=known) == ("old words",)
    assert slices_of(record("a zigzag car"), [], known=known) == ("new words",)


def test_marks_are_named_once() -> None:
    found = slices_of(record("a"), [], marks=["rectangle", "rectangle"])
    assert found == ("mark rectangle",)
