from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from backend.jobs.records import load_records
from backend.settings import Settings
from backend.store import AnnotationRow, ImageRow, OutcomeRow, Store
from regiontext.images import image_hash
from tests.backend.jobs.collecting import outcomes, process, run, send, suggest
from tests.backend.jobs.fakes import FakeLabelStudio, box, caption, picture, quality, two_boxes


def test_what_became_of_suggestions(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    suggest(store, task, "r1", "caption", "a red car")
    suggest(store, task, "r1", "quality", "clear")
    suggest(store, task, "r2", "caption", "a tree")
    suggest(store, task, "r3", "caption", "a ghost")
    annotation = studio.add_annotation(
        task,
        [*two_boxes(), caption("r1", "a red car"), quality("r1", "occluded"), box("r4"),
         caption("r4", "mine")],
    )  # fmt: skip
    send(studio, store, "ANNOTATION_CREATED", annotation)
    assert process(settings, store) == 1
    id = annotation["id"]
    assert outcomes(store) == {
        (id, "r1", "caption"): "accepted",
        (id, "r1", "quality"): "edited",
        (id, "r2", "caption"): "cleared",
        (id, "r3", "caption"): "discarded",
        (id, "r4", "caption"): "added",
    }
    with store.read() as session:
        row = session.get(OutcomeRow, (id, "r1", "quality"))
        assert row is not None
        assert (row.final, row.options) == (["occluded"], ["clear", "occluded"])
        assert (row.labels, row.annotator, row.arm) == (["Car"], 1, "assist")
        assert row.model_version == "tiny@base+r1+q1"
        kept = session.get(AnnotationRow, id)
        assert kept is not None
        assert kept.image_hash == image_hash(picture(task))


def test_how_far_each_answer_is_from_its_suggestion(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    suggest(store, task, "r1", "caption", "a red car")
    suggest(store, task, "r1", "quality", "clear")
    suggest(store, task, "r2", "caption", "a tree")
    suggest(store, task, "r3", "caption", "a ghost")
    result = [*two_boxes(), caption("r1", "the red car"), quality("r1", "occluded")]
    result += [caption("r2", "two trees")]
    annotation = studio.add_annotation(task, result, lead_time=30.0)
    send(studio, store, "ANNOTATION_CREATED", annotation)
    process(settings, store)
    id = annotation["id"]
    figures = {}
    with store.read() as session:
        for row in session.scalars(select(OutcomeRow).where(OutcomeRow.annotation == id)):
            edit = row.edit_chars, row.edit_words, row.meaning_changed
            figures[row.region, row.field] = (*edit, row.seconds, row.trap)
    assert figures == {
        ("r1", "caption"): (3, 1, False, 15.0, False),
        ("r1", "quality"): (2, 2, True, 15.0, False),
        ("r2", "caption"): (4, 2, True, 15.0, False),
        ("r3", "caption"): (7, 2, True, None, False),
    }


def test_collect_measures_what_an_older_version_did_not(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    suggest(store, task, "r1", "caption", "a red car")
    annotation = studio.add_annotation(
        task, [*two_boxes(), caption("r1", "a blue car")], lead_time=None
    )
    project = studio.tasks[task]["project"]
    run(settings, project)
    with store.begin() as session:
        row = session.get(OutcomeRow, (annotation["id"], "r1", "caption"))
        assert row is not None
        assert (row.edit_chars, row.meaning_changed, row.seconds) == (4, True, None)
        row.edit_chars = row.meaning_changed = None
    studio.tasks[task]["drafts"] = [
        {"annotation": 0, "lead_time": 99.0},
        {"annotation": annotation["id"], "lead_time": 8.0},
    ]
    assert run(settings, project).updated == 1
    with store.read() as session:
        row = session.get(OutcomeRow, (annotation["id"], "r1", "caption"))
        assert row is not None
        assert (row.edit_chars, row.meaning_changed, row.seconds) == (4, True, 4.0)
    assert run(settings, project).updated == 0


def test_collect_finds_what_webhooks_missed(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    project = studio.tasks[task]["project"]
    suggest(store, task, "r1", "caption", "a red car")
    first = studio.add_annotation(task, [box("r1"), caption("r1", "a red car")])
    second = studio.add_annotation(task, [box("r1"), caption("r1", "a blue car")], by=2)
    found = run(settings, project)
    assert (found.annotations, found.created, found.updated, found.deleted) == (2, 2, 0, 0)
    assert found.outcomes == {"accepted": 1, "edited": 1}

    again = run(settings, project)
    assert (again.created, again.updated, again.deleted) == (0, 0, 0)
    assert again.outcomes == found.outcomes

    studio.update_annotation(first["id"], [box("r1"), caption("r1", "my car")])
    del studio.annotations[second["id"]]
    third = run(settings, project)
    assert (third.annotations, third.created, third.updated, third.deleted) == (1, 0, 1, 1)
    assert outcomes(store) == {(first["id"], "r1", "caption"): "edited"}
    assert [record.answer for record in load_records(store, project)] == [("my car",)]


def test_webhook_and_collect_agree(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    suggest(store, task, "r1", "caption", "a red car")
    annotation = studio.add_annotation(task, [box("r1"), caption("r1", "a car")])
    send(studio, store, "ANNOTATION_CREATED", annotation)
    process(settings, store)
    by_webhook = outcomes(store)
    assert run(settings, annotation["project"]).created == 0
    assert outcomes(store) == by_webhook
    send(studio, store, "ANNOTATION_CREATED", annotation)
    process(settings, store)
    assert outcomes(store) == by_webhook


def test_webhooks_out_of_order(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    annotation = studio.add_annotation(task, [box("r1"), caption("r1", "old")])
    old = dict(annotation)
    studio.update_annotation(annotation["id"], [box("r1"), caption("r1", "new")])
    send(studio, store, "ANNOTATION_UPDATED", studio.annotations[annotation["id"]])
    send(studio, store, "ANNOTATION_CREATED", old)
    process(settings, store)
    assert [record.answer for record in load_records(store)] == [("new",)]


def test_several_created_and_deleted_at_once(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    other = studio.add_task(studio.tasks[task]["project"], picture(999))
    made = [
        studio.add_annotation(task, [box("r1"), caption("r1", "one")]),
        studio.add_annotation(other, [box("r1"), caption("r1", "two")]),
    ]
    send(studio, store, "ANNOTATIONS_CREATED", *made)
    process(settings, store)
    assert sorted(record.text for record in load_records(store)) == ["one", "two"]
    send(studio, store, "ANNOTATIONS_DELETED", *made)
    process(settings, store)
    assert load_records(store) == []
    assert outcomes(store) == {}


def test_skipped_annotations_have_no_outcomes(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    project = studio.tasks[task]["project"]
    annotation = studio.add_annotation(task, [box("r1"), caption("r1", "words")])
    run(settings, project)
    assert len(outcomes(store)) == 1
    studio.annotations[annotation["id"]] |= {"was_cancelled": True, "updated_at": "2999-01-01Z"}
    found = run(settings, project)
    assert (found.annotations, found.deleted) == (0, 1)
    assert outcomes(store) == {}
    send(studio, store, "ANNOTATION_UPDATED", studio.annotations[annotation["id"]])
    process(settings, store)
    assert outcomes(store) == {}


def test_suggestions_made_later_do_not_count(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    annotation = studio.add_annotation(task, [box("r1"), caption("r1", "a car")])
    later = datetime.now(UTC) + timedelta(minutes=1)
    suggest(store, task, "r1", "caption", "a car", at=later)
    run(settings, annotation["project"])
    assert set(outcomes(store).values()) == {"added"}


def test_the_latest_of_several_suggestions_counts_unless_the_field_names_another(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    start = datetime.now(UTC) - timedelta(hours=1)
    first = suggest(store, task, "r1", "caption", "a car", at=start)
    suggest(store, task, "r1", "caption", "a bus", at=start + timedelta(minutes=1))
    annotation = studio.add_annotation(task, [box("r1"), caption("r1", "a car")])
    run(settings, annotation["project"])
    assert set(outcomes(store).values()) == {"edited"}
    # A tab that was open while the prediction was renewed still shows the first one.
    shown = {"regiontext": {"suggestion": first, "model_version": "tiny@base+r1+q1"}}
    studio.update_annotation(
        annotation["id"], [box("r1"), caption("r1", "a car", meta=shown, origin="prediction")]
    )
    run(settings, annotation["project"])
    assert set(outcomes(store).values()) == {"accepted"}


def test_the_origin_means_nothing(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    suggest(store, task, "r1", "caption", "a car")
    edited = caption("r1", "a blue car", origin="prediction")
    annotation = studio.add_annotation(task, [box("r1", origin="prediction"), edited])
    run(settings, annotation["project"])
    assert set(outcomes(store).values()) == {"edited"}


def test_regions_of_another_annotator_are_not_discarded_by_this_one(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    suggest(store, task, "hers", "caption", "a car", path="interactive")
    suggest(store, task, "his", "caption", "a bush", path="interactive")
    hers = studio.add_annotation(task, [box("hers"), caption("hers", "a car")], by=1)
    his = studio.add_annotation(task, [box("his"), caption("his", "a tree")], by=2)
    run(settings, hers["project"])
    assert outcomes(store) == {
        (hers["id"], "hers", "caption"): "accepted",
        (his["id"], "his", "caption"): "edited",
    }


def test_a_prediction_that_the_annotation_did_not_start_from_is_not_discarded(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int
) -> None:
    suggest(store, task, "p1", "caption", "a car")
    scratch = studio.add_annotation(task, [box("own"), caption("own", "a car")])
    copied = studio.add_annotation(task, [], by=2, parent_prediction=77)
    run(settings, scratch["project"])
    assert outcomes(store) == {
        (scratch["id"], "own", "caption"): "added",
        (copied["id"], "p1", "caption"): "discarded",
    }


@pytest.mark.parametrize("arm", ["control", "holdout"])
def test_images_never_seen_get_their_arm_and_their_texts_are_added(
    studio: FakeLabelStudio, settings: Settings, store: Store, task: int, arm: str
) -> None:
    shares = {"control": 0.0, "holdout": 0.0} | {arm: 1.0}
    drawn = settings.model_copy(update=shares)
    annotation = studio.add_annotation(task, [box("r1"), caption("r1", "a car")])
    run(drawn, annotation["project"])
    with store.read() as session:
        image = session.get(ImageRow, image_hash(picture(task)))
        assert image is not None
        assert (image.arm, image.width, image.height) == (arm, 80, 60)
    assert set(outcomes(store).values()) == {"added"}
    learnt = load_records(store)
    assert [record.arm for record in learnt] == (["control"] if arm == "control" else [])
    assert [record.arm for record in load_records(store, arms=["holdout"])] == (
        ["holdout"] if arm == "holdout" else []
    )
