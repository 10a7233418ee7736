from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import HTTPException
from sqlalchemy import select
from sqlalchemy.exc import DataError

from backend.errors import LabelStudioError, ModelUnavailable
from backend.jobs.errors import JobError
from backend.jobs.prelabel import Prelabelled, prelabel
from backend.jobs.progress import Progress
from backend.settings import Settings
from backend.store import Store, SuggestionRow
from regiontext.errors import ConfigError
from regiontext.labelstudio.results import read_results, text_of
from tests.backend.jobs.fakes import (
    FakeLabelStudio,
    FakeModelServer,
    box,
    caption,
    picture,
    two_boxes,
)


def run(settings: Settings, project: int, **options: Any) -> Prelabelled:
    return asyncio.run(prelabel(settings, project, **options))


@pytest.fixture
def project(studio: FakeLabelStudio) -> int:
    return studio.add_project()


def with_boxes(studio: FakeLabelStudio, project: int, number: int) -> list[int]:
    tasks = [studio.add_task(project, picture(n)) for n in range(number)]
    for task in tasks:
        studio.add_prediction(task, two_boxes())
    return tasks


def ours(studio: FakeLabelStudio, task: int) -> list[dict[str, Any]]:
    return [p for p in studio.predictions_of(task) if p["model_version"] != "detector"]


def test_imported_boxes_are_filled(
    studio: FakeLabelStudio, model_server: FakeModelServer, settings: Settings, project: int
) -> None:
    tasks = with_boxes(studio, project, 3)
    empty = studio.add_task(project, picture(50))
    seen: list[Progress] = []
    found = run(settings, project, progress=seen.append)
    assert (found.tasks, found.created, found.without_regions, found.failed) == (4, 3, 1, 0)
    for task in tasks:
        (prediction,) = ours(studio, task)
        assert prediction["model_version"] == found.model_version
        assert 0 < prediction["score"] <= 1
        read = read_results(prediction["result"])
        assert list(read.shapes) == ["r1", "r2"]
        assert read.shapes["r2"]["value"] == two_boxes()[1]["value"]
        for region in ("r1", "r2"):
            (text,) = text_of(read.fields[region]["caption"])
            assert text.startswith("words about")
            assert text_of(read.fields[region]["quality"]) == ("clear",)
        (arrow,) = read.relations
        assert {arrow["from_id"], arrow["to_id"]} == {"r1", "r2"}
        assert arrow["labels"] == ["next to"]
        assert text_of(read.image_fields["relcaption"])
    assert ours(studio, empty) == []
    assert studio.projects[project]["model_version"] == found.model_version
    assert found.shown
    assert (seen[-1].done, seen[-1].total) == (4, 4)


def test_a_second_run_makes_nothing_twice(
    studio: FakeLabelStudio, model_server: FakeModelServer, settings: Settings, project: int
) -> None:
    tasks = with_boxes(studio, project, 3)
    run(settings, project)
    before, asked = dict(studio.predictions), len(model_server.asked)
    found = run(settings, project)
    assert (found.created, found.current, found.removed) == (0, 3, 0)
    assert studio.predictions == before
    assert len(model_server.asked) == asked
    assert all(len(ours(studio, task)) == 1 for task in tasks)


def test_two_at_once_make_nothing_twice(
    studio: FakeLabelStudio, settings: Settings, project: int
) -> None:
    tasks = with_boxes(studio, project, 4)
    words: list[str] = []

    async def both() -> list[Prelabelled]:
        first = asyncio.create_task(prelabel(settings, project))
        await asyncio.sleep(0.05)
        second = prelabel(settings, project, lambda p: words.append(p.doing))
        return list(await asyncio.gather(first, second))

    first, second = asyncio.run(both())
    assert first.created + second.created == 4
    assert all(len(ours(studio, task)) == 1 for task in tasks)
    assert any("waiting" in word for word in words)


def test_a_prediction_made_meanwhile_is_not_doubled(
    studio: FakeLabelStudio, model_server: FakeModelServer, settings: Settings, project: int
) -> None:
    (task,) = with_boxes(studio, project, 1)
    version = run(settings, project).model_version
    del studio.predictions[ours(studio, task)[0]["id"]]

    # Another machine is faster: its prediction appears while our model still answers.
    def slow(model: str, prompt: str, options: list[str]) -> str:
        if not ours(studio, task):
            studio.add_prediction(task, two_boxes(), version)
        return options[0] if options else "words"

    model_server.say = slow
    found = run(settings, project)
    assert (found.created, found.current) == (0, 1)
    assert len(ours(studio, task)) == 1


def test_doubles_made_in_the_same_instant_are_removed(
    studio: FakeLabelStudio, settings: Settings, project: int
) -> None:
    (task,) = with_boxes(studio, project, 1)

    def race(body: dict[str, Any]) -> None:
        studio.add_prediction(task, body["result"], body["model_version"])

    studio.before_create = race
    found = run(settings, project)
    assert found.removed == 1
    assert len(ours(studio, task)) == 1


def test_older_versions_are_replaced_and_others_stay(
    studio: FakeLabelStudio, model_server: FakeModelServer, settings: Settings, project: int
) -> None:
    free, used, open_, imported = with_boxes(studio, project, 4)
    before = run(settings, project).model_version
    old = {task: ours(studio, task)[0]["id"] for task in (free, used, open_, imported)}
    studio.add_annotation(used, two_boxes(), parent_prediction=old[used])
    studio.add_draft(open_, two_boxes())
    foreign = studio.add_prediction(imported, two_boxes(), "tiny@theirs")
    model_server.view = {"scope": "crop"}
    found = run(settings, project)
    assert found.model_version != before
    assert (found.renewed, found.created, found.removed) == (4, 0, 2)
    assert old[free] not in studio.predictions
    assert old[used] in studio.predictions
    assert old[open_] in studio.predictions
    assert foreign in studio.predictions
    assert len([p for p in studio.predictions.values() if p["model_version"] == "detector"]) == 4
    for task in (free, used, open_, imported):
        assert len(studio.predictions_of(task, found.model_version)) == 1
    assert studio.projects[project]["model_version"] == found.model_version
    # Killed between making the new one and removing the old: the next run tidies up.
    studio.drafts.clear()
    assert run(settings, project).removed == 1
    assert old[open_] not in studio.predictions


def test_renewed_texts_come_from_the_new_model_not_from_the_old_text(
    studio: FakeLabelStudio, model_server: FakeModelServer, settings: Settings, project: int
) -> None:
    task = studio.add_task(project, picture(1))
    studio.add_draft(task, [box("r1")])
    run(settings, project)
    model_server.view = {"scope": "crop"}
    model_server.say = lambda model, prompt, options: options[0] if options else "new words"
    studio.drafts.clear()
    run(settings, project)
    (prediction,) = ours(studio, task)
    assert text_of(read_results(prediction["result"]).fields["r1"]["caption"]) == ("new words",)


def test_what_others_wrote_stays(studio: FakeLabelStudio, settings: Settings, project: int) -> None:
    task = studio.add_task(project, picture(1))
    studio.add_prediction(task, [box("r1"), caption("r1", "imported words")])
    run(settings, project)
    (prediction,) = ours(studio, task)
    fields = read_results(prediction["result"]).fields["r1"]
    assert text_of(fields["caption"]) == ("imported words",)
    assert text_of(fields["quality"]) == ("clear",)


@pytest.mark.parametrize("arm", ["control", "holdout"])
def test_other_arms_are_not_filled(
    studio: FakeLabelStudio,
    model_server: FakeModelServer,
    settings: Settings,
    store: Store,
    project: int,
    arm: str,
) -> None:
    (task,) = with_boxes(studio, project, 1)
    drawn = settings.model_copy(update={"control": 0.0, "holdout": 0.0} | {arm: 1.0})
    found = run(drawn, project)
    assert (found.created, found.unassisted) == (0, 1)
    assert model_server.asked == []
    with store.read() as session:
        assert session.scalars(select(SuggestionRow)).all() == []
    # The boxes must be there all the same: Label Studio shows one version's predictions only.
    (prediction,) = ours(studio, task)
    read = read_results(prediction["result"])
    assert (list(read.shapes), read.fields, read.relations) == (["r1", "r2"], {}, [])
    assert run(drawn, project).current == 1
    assert len(ours(studio, task)) == 1


def test_drafts_and_annotations_as_sources(
    studio: FakeLabelStudio, settings: Settings, project: int
) -> None:
    drafted = studio.add_task(project, picture(1))
    studio.add_draft(drafted, [box("d1")])
    submitted = studio.add_task(project, picture(2))
    studio.add_annotation(submitted, [box("a1")])
    found = run(settings, project)
    assert (found.created, found.without_regions) == (1, 1)
    assert ours(studio, submitted) == []
    found = run(settings, project, include_annotated=True)
    assert (found.created, found.current) == (1, 1)
    (prediction,) = ours(studio, submitted)
    assert list(read_results(prediction["result"]).shapes) == ["a1"]


@pytest.mark.parametrize("kind", ["draft", "annotation"])
def test_what_people_made_of_our_answers_stays(
    studio: FakeLabelStudio, settings: Settings, project: int, kind: str
) -> None:
    """A region that was filled while it was drawn names our suggestion on all its results, also once corrected."""
    ours_in_it = {"meta": {"regiontext": {"suggestion": "s1"}, "regiontext_seen": 1}}
    arrow = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    made = [
        box("a", **ours_in_it),
        caption("a", "corrected by a person", **ours_in_it),
        box("b", second=True),
        arrow | {"labels": ["holds"]},
    ]
    task = studio.add_task(project, picture(1))
    if kind == "draft":
        studio.add_draft(task, made)
    else:
        studio.add_annotation(task, made)
    assert run(settings, project, include_annotated=kind == "annotation").created == 1
    (prediction,) = ours(studio, task)
    read = read_results(prediction["result"])
    assert list(read.shapes) == ["a", "b"]
    assert text_of(read.fields["a"]["caption"]) == ("corrected by a person",)
    assert text_of(read.fields["b"]["caption"])
    assert [arrow["labels"] for arrow in read.relations] == [["holds"]]


def test_a_failing_task_is_told_and_the_rest_goes_on(
    studio: FakeLabelStudio, settings: Settings, project: int
) -> None:
    tasks = with_boxes(studio, project, 3)
    image = studio.uploads.pop(f"{tasks[1]}.png")
    problems: list[str] = []
    found = run(settings, project, progress=lambda p: problems.append(p.problem or ""))
    assert (found.created, found.failed) == (2, 1)
    (line,) = found.errors
    assert line.startswith(f"task {tasks[1]}: ")
    assert "404" in line
    assert "\n" not in line
    assert line in problems
    studio.uploads[f"{tasks[1]}.png"] = image
    again = run(settings, project)
    assert (again.created, again.current, again.failed) == (1, 2, 0)


def test_a_task_whose_prediction_label_studio_refuses_is_told(
    studio: FakeLabelStudio, settings: Settings, project: int
) -> None:
    with_boxes(studio, project, 1)
    studio.refuse = lambda method, path: 400 if method == "POST" else None
    found = run(settings, project)
    assert found.failed == 1
    assert "400" in found.errors[0]
    assert not found.shown


def test_a_model_that_fails_throughout_stops_the_job(
    studio: FakeLabelStudio, model_server: FakeModelServer, settings: Settings, project: int
) -> None:
    with_boxes(studio, project, 30)
    model_server.down = True
    with pytest.raises(JobError, match="in a row") as error:
        run(settings, project)
    assert "out of memory" in str(error.value)
    assert all(p["model_version"] == "detector" for p in studio.predictions.values())


def test_what_is_not_there_is_said_at_once(
    studio: FakeLabelStudio, settings: Settings, project: int
) -> None:
    with pytest.raises(LabelStudioError, match="no project 999"):
        run(settings, 999)
    with pytest.raises(ConfigError):
        run(settings, studio.add_project("<View><Image name='i' value='$image'/></View>"))
    nowhere = settings.model_copy(update={"model_url": "http://127.0.0.1:9/v1"})
    with pytest.raises(ModelUnavailable):
        run(nowhere, project)
    nobody = settings.model_copy(update={"label_studio_url": "http://127.0.0.1:9"})
    with pytest.raises(LabelStudioError, match="does not answer"):
        run(nobody, project)


def test_a_project_that_hides_predictions_keeps_hiding_them(
    studio: FakeLabelStudio, settings: Settings
) -> None:
    project = studio.add_project(show_collab_predictions=False)
    with_boxes(studio, project, 1)
    found = run(settings, project)
    assert found.created == 1
    assert not found.shown
    assert studio.projects[project]["model_version"] == "regiontext"


def test_many_pages(studio: FakeLabelStudio, settings: Settings, project: int) -> None:
    tasks = [studio.add_task(project, b"") for _ in range(103)]
    found = run(settings, project)
    assert (found.tasks, found.without_regions) == (103, len(tasks))


@pytest.mark.parametrize("id", ["x" * 129, "r\x00"])
def test_a_region_whose_id_no_database_takes_fails_its_task_only(
    studio: FakeLabelStudio, settings: Settings, project: int, id: str
) -> None:
    with_boxes(studio, project, 1)
    task = studio.add_task(project, picture(7))
    studio.add_prediction(task, [box(id)])
    found = run(settings, project)
    assert (found.created, found.failed) == (1, 1)
    assert found.errors[0].startswith(f"task {task}: the id of region")


def test_text_that_no_database_takes_fails_its_task_only(
    studio: FakeLabelStudio, settings: Settings, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DataError("INSERT", None, ValueError("text cannot hold NUL"))

    with_boxes(studio, project, 2)
    monkeypatch.setattr("backend.assistant.stored.add_suggestions", refuse)
    found = run(settings, project)
    assert found.failed == 2
    assert "cannot hold NUL" in found.errors[0]


def test_the_queue_of_annotators_is_made_once(
    studio: FakeLabelStudio, settings: Settings, project: int
) -> None:
    with_boxes(studio, project, 2)
    run(settings, project)
    (view,) = studio.views
    assert view["project"] == project
    assert view["data"]["title"] == "regiontext: useful first"
    assert view["data"]["ordering"] == ["tasks:predictions_score"]
    with_boxes(studio, project, 1)
    assert run(settings, project).created == 1
    assert len(studio.views) == 1


def test_images_that_are_not_filled_stand_anywhere_in_the_queue(
    studio: FakeLabelStudio, settings: Settings, project: int
) -> None:
    tasks = with_boxes(studio, project, 8)
    run(settings.model_copy(update={"control": 0.5}), project)
    made = [ours(studio, task)[0] for task in tasks]
    filled = {p["score"] for p in made if read_results(p["result"]).fields}
    unfilled = [p["score"] for p in made if not read_results(p["result"]).fields]
    assert filled and unfilled
    assert set(unfilled) <= filled


def test_one_refused_prediction_does_not_keep_the_others_out(
    studio: FakeLabelStudio, settings: Settings, project: int
) -> None:
    tasks = with_boxes(studio, project, 3)
    studio.refuse = lambda method, path: 400 if path.endswith("/import/predictions") else None

    def refuse_one(body: dict[str, Any]) -> None:
        if body["task"] == tasks[1]:
            raise HTTPException(400, "this one is wrong")

    studio.before_create = refuse_one
    found = run(settings, project)
    assert (found.created, found.failed) == (2, 1)
    assert "this one is wrong" in found.errors[0]
    assert [len(ours(studio, task)) for task in tasks] == [1, 0, 1]
