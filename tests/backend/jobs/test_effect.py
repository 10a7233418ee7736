"""Assist against control: the figures that say what pre-filling does."""

from __future__ import annotations

import json
from dataclasses import replace

from backend.jobs.effect import Measured, compare_arms, measured
from backend.store import AnnotationRow, OutcomeRow, Store
from backend.store import queries as stored

ONE = Measured("assist", "accepted", 1, "r1", "a" * 64, False, 0, 0.0, False, 4.0)


def test_assist_against_control() -> None:
    assist = [
        replace(ONE, annotation=i, image_hash=f"a{i}", seconds=4.0 + i % 3, edit_chars=i % 2 * 5)
        for i in range(20)
    ]
    assist += [replace(item, region="r1", closed=True, edit_chars=9) for item in assist]
    control = [
        replace(
            ONE, arm="control", outcome="added", annotation=100 + i, image_hash=f"c{i}",
            seconds=9.0 + i % 3, edit_chars=20 + i % 4, edit_share=1.0,
        )
        for i in range(20)
    ]  # fmt: skip
    found = compare_arms([*assist, *control], samples=300)
    first, second, third = found.arms
    assert [arm.arm for arm in found.arms] == ["assist", "control", "holdout"]
    assert (first.annotations, first.regions, first.fields) == (20, 20, 40)
    assert (second.regions, second.outcomes) == (20, {"added": 20})
    assert (third.fields, third.seconds, third.untouched) == (0, None, None)
    assert first.seconds is not None
    assert first.edit_chars is not None
    assert second.edit_share is not None
    assert first.seconds.n == 20  # two fields of one region are one time
    assert (first.seconds.value, first.edit_chars.value) == (5.0, 2.5)
    assert second.edit_share.value == 1.0
    assert first.untouched is not None
    assert second.untouched is None
    assert found.seconds is not None
    assert found.edit_chars is not None
    assert found.seconds.value == -5
    assert found.edit_chars.value == 2.5 - 21.5
    assert found.seconds.clear
    json.dumps(found.to_dict())


def test_nothing_known_is_no_figure() -> None:
    found = compare_arms([replace(ONE, seconds=None, edit_chars=None)], samples=50)
    assert found.arms[0].seconds is None
    assert found.arms[0].edit_chars is None
    assert (found.seconds, found.edit_chars) == (None, None)
    assert compare_arms([]).over_reliance.share is None


def test_traps_tell_over_reliance_and_nothing_else() -> None:
    traps = [
        replace(ONE, annotation=i, image_hash=f"t{i}", trap=True, outcome=outcome, edit_chars=99)
        for i, outcome in enumerate(["accepted", "edited", "cleared", "discarded", "accepted"])
    ]
    found = compare_arms([ONE, *traps], samples=100)
    assert (found.over_reliance.traps, found.over_reliance.accepted) == (4, 2)
    assert found.over_reliance.standing == ((0, "r1"), (4, "r1"))
    assert found.over_reliance.share is not None
    assert found.over_reliance.share.value == 0.5
    assert found.arms[0].fields == 1


def test_the_store_gives_what_is_compared(store: Store) -> None:
    with store.begin() as session:
        for id, deleted in ((1, False), (2, True)):
            stored.upsert(
                session,
                AnnotationRow(
                    id=id, project=1, task=id, completed_by=1, result=[], deleted=deleted,
                    image_hash="a" * 64, source="collect",
                ),
            )  # fmt: skip
            session.add(
                OutcomeRow(
                    annotation=id, region="r1", field="caption", project=1, task=id,
                    image_hash="a" * 64, arm="assist", outcome="accepted", suggested=["x"],
                    final=["x"], options=[], question="q", labels=[], edit_chars=0, edit_words=0,
                    edit_share=0.0, meaning_changed=False, seconds=4.0,
                )
            )  # fmt: skip
    assert measured(store, 1) == [ONE]
    assert measured(store, 2) == []
    assert measured(store) == [ONE]
