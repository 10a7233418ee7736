from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select, update

from backend.errors import ModelUnavailable
from backend.jobs.collect import collect
from backend.jobs.errors import JobError, NotEnough
from backend.jobs.finetune import finetune
from backend.jobs.finetune_choice import read_choice
from backend.jobs.finetune_report import FinetuneOptions, FinetuneReport
from backend.jobs.finetune_steps import PROGRESS_NAME
from backend.jobs.progress import Progress
from backend.jobs.trainer import Said, train
from backend.serving import served
from backend.settings import Settings
from backend.store import ImageRow, ModelVersionRow, Store
from regiontext.labelstudio.config import parse_config
from regiontext.records.manifest import read_manifest, verify_manifest
from tests.backend.jobs.fakes import (
    CONFIG,
    FakeLabelStudio,
    FakeModelServer,
    another_picture,
    caption,
    quality,
    two_boxes,
)

TRAINER = "tests.backend.jobs.fake_trainer"


def run(settings: Settings, project: int | None, **options: Any) -> FinetuneReport:
    progress = options.pop("progress", lambda p: None)
    told = FinetuneOptions(threads=1, **options)
    return asyncio.run(finetune(settings, project, progress, options=told, trainer=TRAINER))


@pytest.fixture
def project(studio: FakeLabelStudio, model_server: FakeModelServer, tmp_path: Path) -> int:
    (tmp_path / "model").mkdir()
    model_server.root = str(tmp_path / "model")
    model_server.say = learns
    id = studio.add_project()
    for seed in range(30):
        task = studio.add_task(id, another_picture(seed))
        studio.add_annotation(
            task, [*two_boxes(), caption("r1", "a zigzag car"), quality("r2", "occluded")]
        )
    return id


def learns(model: str, prompt: str, options: list[str]) -> str:
    """The base knows neither; an adapter has learnt both."""
    if options:
        return "occluded" if ":" in model else "clear"
    return "a zigzag car" if ":" in model else "a plain car"


def forgets(model: str, prompt: str, options: list[str]) -> str:
    """An adapter answers the new word to everything, and gets the choices wrong that the base knew."""
    if options:
        return "clear" if ":" in model else "occluded"
    return "a zigzag car" if ":" in model else "a plain car"


def versions(store: Store) -> dict[str, str]:
    with store.read() as session:
        return {row.name: row.status for row in session.scalars(select(ModelVersionRow))}


def test_near_duplicates_of_what_judges_are_not_learnt_from(
    studio: FakeLabelStudio,
    model_server: FakeModelServer,
    settings: Settings,
    store: Store,
    project: int,
) -> None:
    held = settings.model_copy(update={"holdout": 0.3})
    asyncio.run(collect(held, project))
    with store.read() as session:
        rows = session.execute(select(ImageRow.task, ImageRow.arm).order_by(ImageRow.task)).all()
    judging = {task: seed for seed, (task, arm) in enumerate(rows) if arm == "holdout"}
    # Another frame of every scene that judges: other bytes, and mostly of another arm.
    frames = []
    for seed in judging.values():
        picture = Image.open(io.BytesIO(another_picture(seed)))
        picture.putpixel((79, 59), (1, 2, 3))
        buffer = io.BytesIO()
        picture.save(buffer, format="BMP")
        frames.append(studio.add_task(project, buffer.getvalue()))
        studio.add_annotation(frames[-1], [*two_boxes(), caption("r1", "a zigzag car")])
    report = run(held, project)
    choice = read_choice(report.run_dir)
    judged = {record.task for record in choice.chosen.judging}
    learnt = {record.task for record in choice.chosen.training}
    assert set(judging) <= judged
    assert learnt and not learnt & set(frames)
    assert any("nearly are the same" in line for line in report.problems)


def test_a_better_model_is_promoted(
    studio: FakeLabelStudio,
    model_server: FakeModelServer,
    settings: Settings,
    store: Store,
    project: int,
) -> None:
    held = settings.model_copy(update={"holdout": 0.3})
    seen: list[Progress] = []
    report = run(held, project, progress=seen.append)
    assert report.promoted, report.reason
    assert (report.name, report.champion) == ("tiny:0001", "tiny")
    assert versions(store) == {"tiny:0001": "champion"}
    assert model_server.adapters == {"tiny:0001": str(report.run_dir / "adapter")}
    assert report.decision.challenger == 1.0
    assert report.decision.champion < 0.5
    now = served(held, store)
    assert now is not None
    assert now.version(parse_config(CONFIG)).startswith("tiny@0001+r")
    assert "GET /api/ml" in studio.calls
    assert any("training on corrections (loss" in progress.doing for progress in seen)

    # Holdout judges and is not learnt from; the validation split is neither here.
    assert report.counts["judging"]["arms"] == {"holdout": report.counts["judging"]["records"]}
    assert report.counts["training"]["arms"] == {"assist": report.counts["training"]["records"]}
    data = report.run_dir / "data"
    lines = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    assert len(lines) == 4 * report.counts["training"]["records"]
    assert {line["answer"] for line in lines} == {"a zigzag car", "occluded"}
    assert all(set(line) == set(lines[0]) for line in lines)
    assert len({line["prompt"] for line in lines if not line["options"]}) > 3
    assert verify_manifest(data) == []
    manifest = read_manifest(report.run_dir)
    assert manifest["decision"]["promote"] is True
    assert verify_manifest(report.run_dir) == []
    told = json.loads((report.run_dir / "adapter" / "run.json").read_text())
    assert told == {"base": model_server.root, "seed": "0", "omp": "1"}
    answers = (report.run_dir / "answers.jsonl").read_text().splitlines()
    assert (
        len(answers) == report.counts["judging"]["records"] + report.counts["guarding"]["records"]
    )
    assert json.loads(answers[0])["challenger"]["score"] == 1.0


def test_the_next_champion_retires_the_one_before(
    model_server: FakeModelServer, settings: Settings, store: Store, project: int
) -> None:
    run(settings, project)
    # The second is judged against the first, and is no better.
    tie = run(settings, project)
    assert (tie.champion, tie.promoted) == ("tiny:0001", False)
    assert "not proved better" in tie.reason
    assert versions(store) == {"tiny:0001": "champion", "tiny:0002": "rejected"}
    assert list(model_server.adapters) == ["tiny:0001"]

    def wiser(model: str, prompt: str, options: list[str]) -> str:
        return learns("x:y" if model.endswith("3") else "x", prompt, options)

    model_server.say = wiser
    assert run(settings, project).promoted
    assert versions(store) == {
        "tiny:0001": "retired",
        "tiny:0002": "rejected",
        "tiny:0003": "champion",
    }


def test_a_champion_that_the_server_forgot_is_loaded_to_be_compared(
    model_server: FakeModelServer, settings: Settings, project: int
) -> None:
    run(settings, project)
    model_server.adapters.clear()
    assert run(settings, project).champion == "tiny:0001"
    assert list(model_server.adapters) == ["tiny:0001"]


def test_forgetting_is_seen_and_rejected(
    model_server: FakeModelServer, settings: Settings, store: Store, project: int
) -> None:
    model_server.say = forgets
    report = run(settings, project)
    assert not report.promoted
    assert versions(store) == {"tiny:0001": "rejected"}
    assert model_server.adapters == {}
    assert read_manifest(report.run_dir)["promoted"] is False


def test_too_few_records(
    studio: FakeLabelStudio, settings: Settings, store: Store, project: int
) -> None:
    with pytest.raises(NotEnough, match="to learn from"):
        run(settings, project, min_records=500)
    with pytest.raises(NotEnough, match="to judge a new model by"):
        run(settings, project, min_eval=500)
    empty = studio.add_project()
    with pytest.raises(NotEnough, match="0 texts"):
        run(settings, empty)
    assert versions(store) == {}
    assert not (settings.data_dir / "runs").exists()


def test_a_trainer_that_fails_says_why(
    model_server: FakeModelServer, settings: Settings, store: Store, project: int
) -> None:
    with pytest.raises(JobError, match="the loss is nan") as error:
        run(settings, project, steps=666)
    assert "train.log" in str(error.value)
    assert versions(store) == {}
    assert model_server.adapters == {}
    assert run(settings, project).name == "tiny:0002"


def test_a_trainer_that_is_not_there_says_why(settings: Settings, project: int) -> None:
    with pytest.raises(JobError, match="No module named"):
        asyncio.run(finetune(settings, project, trainer="no.such.trainer"))


def test_a_server_that_dies_while_judging_changes_nothing(
    model_server: FakeModelServer, settings: Settings, store: Store, project: int
) -> None:
    def die(model: str, prompt: str, options: list[str]) -> str:
        model_server.down = len(model_server.asked) > 3
        return learns(model, prompt, options)

    model_server.say = die
    with pytest.raises(ModelUnavailable):
        run(settings, project)
    assert versions(store) == {"tiny:0001": "challenger"}
    # It trained no more: nobody is told so.
    assert not (settings.data_dir / "runs" / "0001" / PROGRESS_NAME).exists()
    now = served(settings, store)
    assert now is not None
    assert now.adapter is None
    adapter = settings.data_dir / "runs" / "0001" / "adapter" / "run.json"
    trained = adapter.stat().st_mtime_ns
    # What was trained is not trained again.
    model_server.down, model_server.say = False, learns
    report = run(settings, project)
    assert report.promoted and report.name == "tiny:0001"
    assert adapter.stat().st_mtime_ns == trained
    assert versions(store) == {"tiny:0001": "champion"}
    assert run(settings, project).name == "tiny:0002"


def test_a_model_folder_elsewhere_is_said(
    model_server: FakeModelServer, settings: Settings, project: int
) -> None:
    model_server.root = "/nowhere/at/all"
    with pytest.raises(JobError, match="/nowhere/at/all"):
        run(settings, project)
    model_server.root = ""
    with pytest.raises(JobError, match="does not say where"):
        run(settings, project)


def test_accepted_texts_guard_when_holdout_is_large_enough(
    settings: Settings, store: Store, project: int
) -> None:
    from backend.store import OutcomeRow

    held = settings.model_copy(update={"holdout": 0.3})
    run(held, project)
    with store.begin() as session:
        session.execute(
            update(OutcomeRow).where(OutcomeRow.arm == "assist").values(outcome="accepted")
        )
    report = run(held, project)
    assert report.counts["guarding"]["records"] > 0
    assert not report.counts["validation_judges"]
    assert any(part.name == "texts that had been accepted" for part in report.decision.slices)


def test_options_that_make_no_sense() -> None:
    with pytest.raises(JobError, match="renders"):
        FinetuneOptions(renders=0)


def test_progress_after_an_error_is_not_its_reason(tmp_path: Path) -> None:
    script = tmp_path / "late_progress.py"
    script.write_text(
        "import json, sys\n"
        "print('finetune: out of memory', file=sys.stderr, flush=True)\n"
        "print(json.dumps({'step': 1, 'of': 2, 'loss': 0.5}), flush=True)\n"
        "sys.exit(3)\n"
    )
    seen: list[Said] = []
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(JobError, match=r"status 3\): finetune: out of memory"),
    ):
        patch.setenv("PYTHONPATH", str(tmp_path))
        asyncio.run(
            train(
                "base",
                tmp_path,
                tmp_path / "adapter",
                tmp_path / "train.log",
                options={},
                threads=1,
                step=seen.append,
                module="late_progress",
            )
        )
    assert seen == [Said(1, 2, 0.5)]
