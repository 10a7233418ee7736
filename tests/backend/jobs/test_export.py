from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import update

from backend.errors import LabelStudioError
from backend.jobs import export as exporting
from backend.jobs.errors import JobError, NotEnough
from backend.jobs.export import Exported, export
from backend.settings import Settings
from backend.store import ImageRow, Store
from regiontext.errors import RecordError
from regiontext.images import image_hash
from regiontext.records.dataset import read_dataset
from regiontext.records.formats.registry import FORMATS, find_format
from regiontext.records.manifest import read_manifest, verify_manifest
from tests.backend.jobs.fakes import (
    CONFIG,
    FakeLabelStudio,
    FakeModelServer,
    caption,
    picture,
    quality,
    two_boxes,
)


@pytest.fixture(autouse=True)
def without_card(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take a second; test_an_export has them."""
    if request.function is not test_an_export:
        monkeypatch.setattr(exporting, "write_card", lambda *args, **options: None)


def run(settings: Settings, project: int | None, out: Path, **options: Any) -> Exported:
    return asyncio.run(export(settings, project, out, **options))


def scene(seed: int, *, quality: int = 95) -> bytes:
    """A JPEG of 80 x 60 that looks like no other seed's."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    coarse.resize((80, 60), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def annotate(studio: FakeLabelStudio, project: int, seed: int, image: bytes | None = None) -> int:
    task = studio.add_task(project, image or picture(seed))
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
    items = [
        item for path in (out / "train.json", out / "validation.json") if path.exists()
        for item in json.loads(path.read_text())
    ]  # fmt: skip
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
    examples = list(read_dataset(out, find_format("llava")))
    assert {one.id for one in examples} == {item["id"] for item in items}
    assert all(one.image.source.startswith("/data/upload/") for one in examples)
    # Of one scene, so of one split.
    assert len({one.split for one in examples}) == 1
    card = (out / "README.md").read_text()
    assert "12 records on 3 images" in card
    assert {path.name for path in (out / "plots").iterdir()} >= {"outcomes.svg", "words.svg"}


def test_of_several_annotators_one_answer_is_exported(
    studio: FakeLabelStudio, settings: Settings, tmp_path: Path
) -> None:
    project = studio.add_project()
    task = studio.add_task(project, picture(1))
    for who, said in enumerate(["clear", "occluded", "occluded"], start=1):
        studio.add_annotation(task, [*two_boxes(), quality("r1", said)], by=who)
    out = tmp_path / "out"
    assert run(settings, project, out).records == 1
    (example,) = read_dataset(out, find_format("llava"))
    assert example.turns[-1].text == "occluded"


def test_holdout_is_never_exported(
    studio: FakeLabelStudio, settings: Settings, store: Store, tmp_path: Path
) -> None:
    project = studio.add_project()
    kept = [annotate(studio, project, seed, image=scene(seed)) for seed in range(12)]
    held = settings.model_copy(update={"holdout": 0.5})
    found = run(held, project, tmp_path / "out")
    with store.read() as session:
        arms = {row.hash: row.arm for row in session.query(ImageRow)}
    assert set(arms.values()) == {"assist", "holdout"}
    text = (tmp_path / "out" / "records.jsonl").read_text()
    exported = {json.loads(line)["image"]["hash"] for line in text.splitlines()}
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
    hashes = {json.loads(line)["image"]["hash"] for line in text.splitlines()}
    assert hashes == {image_hash(studio.uploads[f"{kept}.png"])}


def test_unknown_formats_and_empty_projects(
    studio: FakeLabelStudio, settings: Settings, tmp_path: Path
) -> None:
    project = studio.add_project()
    with pytest.raises(JobError, match="'yolo'"):
        run(settings, project, tmp_path / "out", fmt="yolo")
    with pytest.raises(JobError, match="no coordinates"):
        run(settings, project, tmp_path / "out", coordinates="qwen3-vl")
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


def test_no_format_takes_holdout_or_its_likes(
    studio: FakeLabelStudio, settings: Settings, store: Store, tmp_path: Path
) -> None:
    project = studio.add_project()
    kept, held, like = (
        annotate(studio, project, seed, image)
        for seed, image in ((1, scene(1)), (2, scene(2)), (3, scene(2, quality=60)))
    )
    for task in (kept, held, like):
        studio.add_annotation(task, [*two_boxes(), caption("r1", "a zebra")])
    run(settings, project, tmp_path / "first")
    held_hash = image_hash(studio.uploads[f"{held}.png"])
    with store.begin() as session:
        session.execute(update(ImageRow).where(ImageRow.hash == held_hash).values(arm="holdout"))
    kept_hash = image_hash(studio.uploads[f"{kept}.png"])
    # One of each kind of pictures; every format refuses holdout in tests/regiontext/records/test_dataset.py.
    for fmt in ("llava", "coco", "webdataset"):
        out = tmp_path / fmt
        found = run(settings, project, out, fmt=fmt)
        lines = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
        assert {line["image"]["hash"] for line in lines} == {kept_hash}
        assert [line for line in found.errors if "kept for measuring" in line]
        files = [path for path in out.rglob("*") if path.is_file()]
        assert not any(held_hash[:32].encode() in path.read_bytes() for path in files)
        assert not any(held_hash[:32] in path.name for path in files)
        assert verify_manifest(out) == []


def test_a_later_export_takes_over_what_it_can(
    studio: FakeLabelStudio, settings: Settings, tmp_path: Path
) -> None:
    project = studio.add_project()
    annotate(studio, project, 1, scene(1))
    out = tmp_path / "out"
    assert run(settings, project, out, fmt="coco").reused == 0
    studio.calls.clear()
    annotate(studio, project, 2, scene(2))
    found = run(settings, project, out, fmt="coco")
    assert (found.reused, found.records) == (4, 6)
    assert verify_manifest(out) == []
    fetched = [call for call in studio.calls if "/data/upload/" in call]
    assert len(set(fetched)) == 1
    # The same images as another format want no new picture; marked ones do.
    assert run(settings, project, out, fmt="visual-genome").reused == 8
    assert not (out / "marked").exists()
    assert run(settings, project, out, fmt="trl").reused == 0
    assert not list((out / "images").glob("*")) and len(list((out / "marked").glob("*"))) == 6


def test_an_interrupted_export_goes_on(
    studio: FakeLabelStudio, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = studio.add_project()
    for seed in range(3):
        annotate(studio, project, seed, scene(seed))
    made = exporting.example_of
    count = 0

    def killed(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == 7:
            raise KeyboardInterrupt
        return made(*args, **options)

    monkeypatch.setattr(exporting, "example_of", killed)
    with pytest.raises(KeyboardInterrupt):
        run(settings, project, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    found = run(settings, project, tmp_path / "out")
    assert (found.reused, found.records) == (6, 12)
    assert not list(tmp_path.glob(".out*"))
    run(settings, project, tmp_path / "whole")
    for name in ("records.jsonl", "train.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert verify_manifest(tmp_path / "out") == []


def test_an_image_never_changes_its_split(
    studio: FakeLabelStudio, settings: Settings, tmp_path: Path
) -> None:
    project = studio.add_project()
    before: dict[str, str] = {}
    for step in range(3):
        for seed in range(4 * step, 4 * step + 4):
            annotate(studio, project, seed, scene(seed))
            annotate(studio, project, seed, scene(seed, quality=70))
        run(settings, project, tmp_path / "out")
        now = {
            one.image.hash: one.split for one in read_dataset(tmp_path / "out", FORMATS["llava"])
        }
        assert len(now) == 8 * (step + 1)
        assert now | before == now
        before = dict(now)
    assert set(before.values()) == {"train", "validation"}
    for seed in range(12):
        pair = {before[image_hash(scene(seed, quality=quality))] for quality in (95, 70)}
        assert len(pair) == 1


def test_several_answers_and_sentences_become_records(
    studio: FakeLabelStudio, settings: Settings, tmp_path: Path
) -> None:
    project = studio.add_project(
        CONFIG.replace('name="quality"', 'name="quality" choice="multiple"')
    )
    task = studio.add_task(project, scene(1))
    many = quality("r1", "clear")
    many["value"]["choices"] = ["clear", "occluded"]
    lines = {
        "id": "w", "from_name": "relcaption", "to_name": "img", "type": "textarea",
        "value": {"text": ["The red car is left of the tree.", "Nobody knows what this is about."]},
    }  # fmt: skip
    result = [*two_boxes(), caption("r1", "a red car"), caption("r2", "A tree."), many, lines]
    studio.add_annotation(task, result)
    out = tmp_path / "out"
    run(settings, project, out)
    read = {one.field: one for one in read_dataset(out, FORMATS["llava"])}
    assert read["quality"].answer == ("clear", "occluded")
    assert "Choose all that apply: clear, occluded." in read["quality"].turns[0].text
    sentence = read["relcaption"]
    assert sentence.text == "The red car is left of the tree."
    assert [region.id for region in sentence.regions] == ["r1", "r2"]
    assert (sentence.kind, sentence.provenance.outcome) == ("open", "added")
