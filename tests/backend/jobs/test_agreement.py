"""Several annotators on one region: agreement and the answer that stands for all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backend.jobs.agreement import Given, agreements, answers_given, one_per_thing, standing
from backend.jobs.collect import collect
from backend.jobs.records import load_records
from backend.settings import Settings
from backend.store import Store
from tests.backend.jobs.fakes import FakeLabelStudio, caption, picture, quality, two_boxes

START = datetime(2026, 1, 1, tzinfo=UTC)


def given(region: str, who: int | None, *values: str, closed: bool = True, day: int = 0) -> Given:
    number = (who or 0) * 100 + day
    when = START + timedelta(days=day, seconds=who or 0)
    return Given((1, 2, region, "quality"), number, who, values, closed, when)


def test_agreement_per_field() -> None:
    closed = [given("r1", 1, "clear"), given("r1", 2, "clear"), given("r2", 1, "occluded")]
    closed += [given("r2", 2, "occluded"), given("r3", 1, "clear")]
    (found,) = agreements(closed)
    assert (found.field, found.closed, found.things, found.alpha) == ("quality", True, 2, 1.0)
    (found,) = agreements([*closed, given("r4", 1, "clear"), given("r4", 2)])
    assert found.alpha is not None
    assert 0 < found.alpha < 1
    texts = [
        replace(item, thing=(1, 2, item.thing[2], "caption"), closed=False)
        for item in (
            given("r1", 1, "a red car"),
            given("r1", 2, "the red cars"),
            given("r2", 1, "x"),
        )
    ]
    (found,) = agreements(texts)
    assert found.text is not None
    assert (found.things, found.text.overlap) == (1, 1.0)
    assert agreements([given("r1", 1, "clear")]) == []


def test_somebodys_newer_answer_replaces_the_older() -> None:
    said = [given("r1", 1, "clear"), given("r1", 1, "occluded", day=3), given("r1", 2, "occluded")]
    (found,) = agreements([*said, given("r2", 1, "clear"), given("r2", 2, "clear")])
    assert found.alpha == 1.0
    assert agreements(said[:2]) == []


def test_whose_answer_stands() -> None:
    thing = (1, 2, "r1", "quality")
    most = [given("r1", 1, "clear"), given("r1", 2, "occluded"), given("r1", 3, "clear")]
    assert standing(most) == {thing: 300}
    assert standing([given("r1", 2, "clear", day=1), given("r1", 1, "occluded")]) == {thing: 201}
    assert standing([given("r1", 1, "clear"), given("r1", 2), given("r1", 3)]) == {thing: None}
    assert standing([given("r1", None, "clear")]) == {}


@pytest.mark.parametrize("third", ["clear", "occluded"])
def test_from_label_studio_to_one_record(
    studio: FakeLabelStudio, settings: Settings, store: Store, third: str
) -> None:
    import asyncio

    project = studio.add_project()
    task = studio.add_task(project, picture(1))
    studio.add_annotation(task, [*two_boxes(), quality("r1", "clear"), caption("r2", "a tree")])
    studio.add_annotation(task, [*two_boxes(), quality("r1", "occluded")], by=2)
    studio.add_annotation(task, [*two_boxes(), quality("r1", third)], by=3)
    asyncio.run(collect(settings, project))
    records = load_records(store, project)
    assert len(records) == 4
    kept = one_per_thing(records, standing(answers_given(store, project)))
    assert {(record.regions, record.answer) for record in kept} == {
        (("r1",), (third,)),
        (("r2",), ("a tree",)),
    }
    assert len(kept) == 2
    assert [field.field for field in agreements(answers_given(store))] == ["quality"]
