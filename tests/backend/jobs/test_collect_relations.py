"""What became of relations: drawn, offered in the page, passed over."""

from __future__ import annotations

from typing import Literal

import pytest

from backend.assist_relations import note_arrows
from backend.jobs.records import load_records
from backend.settings import Settings
from backend.store import Store
from tests.backend.jobs.collecting import outcomes, run, suggest
from tests.backend.jobs.fakes import FakeLabelStudio, two_boxes


def test_relations(studio: FakeLabelStudio, settings: Settings, store: Store, task: int) -> None:
    suggest(store, task, "r1", "relations", "next to", to="r2")
    suggest(store, task, "r2", "relations", "no relation", to="r1")
    arrow = {"type": "relation", "from_id": "r1", "to_id": "r2", "direction": "right"}
    annotation = studio.add_annotation(task, [*two_boxes(), arrow | {"labels": ["holds"]}])
    run(settings, annotation["project"])
    assert outcomes(store) == {(annotation["id"], "r1>r2", "relations"): "edited"}
    (record,) = load_records(store)
    assert record.regions == ("r1", "r2")
    assert record.options == ("next to", "holds", "no relation")
    assert (record.kind, record.answer, record.suggested) == ("closed", ("holds",), ("next to",))
    assert record.labels == ("Car", "Tree")


@pytest.mark.parametrize(
    ("noted", "drawn", "outcome"),
    [
        (None, "next to", "added"),
        ("offered", "next to", "accepted"),
        ("offered", "holds", "edited"),
        ("offered", None, None),
        ("drawn", "next to", "accepted"),
        ("drawn", "holds", "edited"),
        ("drawn", None, "cleared"),
    ],
)
def test_relations_that_the_assistant_in_the_page_offered(
    studio: FakeLabelStudio,
    settings: Settings,
    store: Store,
    task: int,
    noted: Literal["offered", "drawn"] | None,
    drawn: str | None,
    outcome: str | None,
) -> None:
    name = suggest(store, task, "r1", "relations", "next to", to="r2", path="interactive")
    # Asked about again later, and passed over.
    suggest(store, task, "r1", "relations", "holds", to="r2", path="interactive")
    if noted is not None:
        assert note_arrows(store, task, [name], noted) == 1
        assert note_arrows(store, task + 1, [name], noted) == 0
    arrow = {"type": "relation", "from_id": "r1", "to_id": "r2", "direction": "right"}
    arrows = [arrow | {"labels": [drawn]}] if drawn else []
    annotation = studio.add_annotation(task, [*two_boxes(), *arrows])
    run(settings, annotation["project"])
    expected = {(annotation["id"], "r1>r2", "relations"): outcome} if outcome else {}
    assert outcomes(store) == expected


def test_an_offer_for_the_other_way_round_says_nothing(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    name = suggest(store, task, "r2", "relations", "next to", to="r1", path="interactive")
    note_arrows(store, task, [name], "offered")
    arrow = {"type": "relation", "from_id": "r1", "to_id": "r2", "direction": "right"}
    annotation = studio.add_annotation(task, [*two_boxes(), arrow | {"labels": ["next to"]}])
    run(settings, annotation["project"])
    assert outcomes(store) == {(annotation["id"], "r1>r2", "relations"): "added"}
