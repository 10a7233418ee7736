"""What is broken or out of reach while corrections are collected, and what goes on all the same."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from backend.settings import Settings
from backend.store import EventRow, Store
from backend.store import queries as stored
from regiontext.labelstudio.results import decode_regions
from tests.backend.jobs.collecting import outcomes, process, run, send
from tests.backend.jobs.fakes import FakeLabelStudio, box, caption, two_boxes


def test_an_image_that_cannot_be_had_is_told_and_tried_again(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    image = studio.uploads.pop(f"{task}.png")
    annotation = studio.add_annotation(task, [box("r1"), caption("r1", "a car")])
    send(studio, store, "ANNOTATION_CREATED", annotation)
    process(settings, store)
    with store.read() as session:
        event = session.scalars(select(EventRow)).one()
        assert event.processed_at is not None
        assert "404" in str(event.error)
    found = run(settings, annotation["project"])
    assert found.created == 0
    (line,) = found.errors
    assert f"annotation {annotation['id']} of task {task}" in line
    studio.uploads[f"{task}.png"] = image
    assert run(settings, annotation["project"]).created == 1


def test_a_broken_webhook_does_not_stop_the_next(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    with store.begin() as session:
        stored.add_event(session, "ANNOTATION_CREATED", {"nonsense": True})
        stored.add_event(session, "PROJECT_UPDATED", {})
    annotation = studio.add_annotation(task, [box("r1"), caption("r1", "a car")])
    send(studio, store, "ANNOTATION_CREATED", annotation)
    assert process(settings, store) == 3
    assert process(settings, store) == 0
    assert len(outcomes(store)) == 1


def test_webhooks_need_not_wait_while_regions_are_decoded(
    studio: FakeLabelStudio,
    settings: Settings,
    store: Store,
    task: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[int] = []

    def decode(results: Any) -> Any:
        with store.begin() as session:
            kept.append(stored.add_event(session, "PROJECT_UPDATED", {}))
        return decode_regions(results)

    monkeypatch.setattr("backend.jobs.keeper.decode_regions", decode)
    annotation = studio.add_annotation(task, [*two_boxes(), caption("r1", "mine")])
    found = run(settings, studio.tasks[task]["project"])
    assert (found.errors, len(kept)) == ([], 1)
    assert outcomes(store) == {(annotation["id"], "r1", "caption"): "added"}


@pytest.mark.parametrize(
    "broken",
    [
        {"result": [box("r1", item_index="first")]},
        {"result": [box("r1"), caption("r1", "x")], "completed_by": {"id": "somebody"}},
        {"result": [box("r" * 300), caption("r" * 300, "x")]},
        {"result": [box("r\0"), caption("r\0", "x")]},
    ],
)
def test_an_annotation_that_makes_no_sense_does_not_stop_the_others(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int, broken: dict[str, Any]
) -> None:
    studio.add_annotation(task, **broken)
    good = studio.add_annotation(task, [box("r9"), caption("r9", "mine")])
    found = run(settings, studio.tasks[task]["project"])
    assert found.annotations == 2
    assert (good["id"], "r9", "caption") in outcomes(store)


def test_an_annotation_of_another_project_is_left_alone(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    annotation = studio.add_annotation(task, [box("r1"), caption("r1", "a car")])
    run(settings, annotation["project"])
    other = studio.add_project()
    assert run(settings, other).deleted == 0
    assert len(outcomes(store)) == 1
