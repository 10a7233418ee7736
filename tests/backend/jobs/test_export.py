from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import update

from backend.errors import LabelStudioError
from backend.jobs.errors import JobError, NotEnough
from backend.jobs.export import Exported, export
from backend.settings import Settings
from backend.store import ImageRow, Store
from regiontext.errors import RecordError
from regiontext.images import image_hash
from regiontext.records.manifest import read_manifest, verify_manifest
from tests.backend.jobs.fakes import (
    FakeLabelStudio,
    FakeModelServer,
    caption,
    picture,
    quality,
    two_boxes,
)


def run(settings: Settings, project: int | None, out: Path, **options: Any) -> Exported:
    return asyncio.run(export(settings, project, out, **options))


def annotate(studio: FakeLabelStudio, project: int, seed: int) -> int:
    task = studio.add_task(project, picture(seed))
    arrow = {"type": "relation", "from_id": "r1", "to_id": "r2", "direction": "right"}
    result = [
        *two_boxes(), caption("r1", f"car {seed}"), quality("r1", "occluded"),
        caption("r2", f"tree {seed}"), arrow | {"labels": ["holds"]},
    ]  # fmt: skip
    studio.add_annotation(task, result)
    return task


def test_an_export(
    studio: FakeLabelStudio, model_server: FakeModelServer, settings: Settings, tmp_path: Path
) -> None:
    model_server.view = {"scope": "crop", "evidence": True}
    project = studio.add_project()
    for seed in range(3):
        annotate(studio, project, seed)
    out = tmp_path / "out"
    found = run(settings, project, out)
    assert (found.records, found.images, found.errors) == (12, 3, [])
    assert found.counts["fields"] == {"caption": 6, "quality": 3, "relations": 3}
    assert found.counts["outcomes"] == {"added": 12}
    assert verify_manifest(out) == []
    manifest = read_manifest(out)
    assert manifest["counts"]["records"] == 12
    assert manifest["view"]["scope"] == "crop"
    items = json.loads((out / "conversations.json").read_text())
    assert len({item["id"] for item in items}) == 12
    for item in items:
        human, gpt = item["conversations"]
        assert human["value"].startswith("<image>\n")
        assert (human["from"], gpt["from"]) == ("human", "gpt")
        with Image.open(out / item["image"]) as image:
            assert image.mode == "RGB"
    # As asked, word for word: the evidence line, the options and the mark's phrase included.
    by_field = {item["id"].rpartition("-")[2]: item["conversations"] for item in items}
    assert "Choose one: clear, occluded." in by_field["quality"][0]["value"]
    assert "The region covers" in by_field["caption"][0]["value"]
    assert "within the" in by_field["caption"][0]["value"]
    assert by_field["relations"][1]["value"] == "holds"
    lines = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [item["id"] for item in items]
    assert all(line["image"].startswith("/data/upload/") for line in lines)


def test_holdout_is_never_exported(
    studio: FakeLabelStudio, settings: Settings, store: Store, tmp_path: Path
) -> None:
    project = studio.add_project()
    kept = [annotate(studio, project, seed) for seed in range(12)]
    held = settings.model_copy(update={"holdout": 0.5})
    found = run(held, project, tmp_path / "out")
    with store.read() as session:
        arms = {row.hash: row.arm for row in session.query(ImageRow)}
    assert set(arms.values()) == {"assist", "holdout"}
    text = (tmp_path / "out" / "records.jsonl").read_text()
    exported = {json.loads(line)["image_hash"] for line in text.splitlines()}
    assert exported == {digest for digest, arm in arms.items() if arm == "assist"}
    assert found.images < len(kept)
    with pytest.raises(JobError, match="holdout"):
        run(held, project, tmp_path / "all", arms=("assist", "holdout"))
    with store.begin() as session:
        session.execute(update(ImageRow).values(arm="holdout"))
    with pytest.raises(NotEnough):
        run(held, project, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_an_export_replaces_only_an_export(
    studio: FakeLabelStudio, settings: Settings, tmp_path: Path
) -> None:
    project = studio.add_project()
    annotate(studio, project, 1)
    out = tmp_path / "out"
    run(settings, project, out)
    annotate(studio, project, 2)
    assert run(settings, None, out).images == 2
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("precious")
    before = len(studio.calls)
    with pytest.raises(RecordError, match="not empty"):
        run(settings, project, mine)
    assert len(studio.calls) == before
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]


def test_a_failed_export_leaves_the_last_one(
    studio: FakeLabelStudio, settings: Settings, tmp_path: Path
) -> None:
    project = studio.add_project()
    annotate(studio, project, 1)
    out = tmp_path / "out"
    run(settings, project, out)
    before = read_manifest(out)
    studio.refuse = lambda method, path: 500 if path == "/api/tasks" else None
    with pytest.raises(LabelStudioError):
        run(settings, project, out)
    assert read_manifest(out) == before
    assert verify_manifest(out) == []
    assert {path.name for path in tmp_path.iterdir()} - {"regiontext-data"} == {"out"}


def test_images_that_changed_or_went_are_left_out_and_told(
    studio: FakeLabelStudio, settings: Settings, tmp_path: Path
) -> None:
    project = studio.add_project()
    changed, kept = annotate(studio, project, 1), annotate(studio, project, 2)
    run(settings, project, tmp_path / "first")
    studio.uploads[f"{changed}.png"] = picture(77)
    found = run(settings, project, tmp_path / "second")
    assert found.images == 1
    (line,) = found.errors
    assert line.startswith(f"task {changed}: ")
    assert "not the one that was annotated" in line
    assert read_manifest(tmp_path / "second")["left_out"] == [line]
    text = (tmp_path / "second" / "records.jsonl").read_text()
    hashes = {json.loads(line)["image_hash"] for line in text.splitlines()}
    assert hashes == {image_hash(studio.uploads[f"{kept}.png"])}


def test_unknown_formats_and_empty_projects(
    studio: FakeLabelStudio, settings: Settings, tmp_path: Path
) -> None:
    project = studio.add_project()
    with pytest.raises(JobError, match="'coco'"):
        run(settings, project, tmp_path / "out", fmt="coco")
    with pytest.raises(NotEnough, match="no text was submitted"):
        run(settings, project, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_all_projects_those_that_are_gone_are_left_out(
    studio: FakeLabelStudio, settings: Settings, tmp_path: Path
) -> None:
    kept, gone = studio.add_project(), studio.add_project()
    for seed, project in enumerate((kept, gone)):
        annotate(studio, project, seed)
        run(settings, project, tmp_path / str(project))
    assert run(settings, None, tmp_path / "both").counts["projects"] == {str(kept): 4, str(gone): 4}
    del studio.projects[gone]
    studio.tasks = {id: task for id, task in studio.tasks.items() if task["project"] != gone}
    found = run(settings, None, tmp_path / "one")
    assert found.counts["projects"] == {str(kept): 4}
    (line,) = found.errors
    assert f"project {gone} is gone" in line
    with pytest.raises(LabelStudioError, match=f"no project {gone}"):
        run(settings, gone, tmp_path / "none")
