"""The sample project: scenes that are pre-filled, boxes that can be read back, and nothing twice."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from backend.up import demo
from backend.up.demo import Scene, add_samples, boxes_result, choose, ensure_project
from regiontext.images import image_hash
from regiontext.labelstudio.config import parse_config
from regiontext.labelstudio.decode import decode_region
from regiontext.labelstudio.results import check_results
from regiontext.records.arm import arm_of
from tests.backend.up_fakes import FakeLabelStudio

CONFIG = parse_config(demo.template())


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scenes") / "scenes"
    subprocess.run(demo.painting_command(out), check=True, stdout=subprocess.DEVNULL)
    return out


@pytest.fixture
def scenes(painted: Path) -> list[Scene]:
    return choose(painted, holdout=0.1, control=0.1, salt="")


def _arm(scene: Scene, **shares: float) -> str:
    return arm_of(image_hash(scene.file.read_bytes()), **shares)


def test_twelve_scenes_of_the_assist_arm_are_chosen(scenes: list[Scene]) -> None:
    assert len(scenes) == demo.SAMPLES == len({scene.file for scene in scenes})
    assert {_arm(scene) for scene in scenes} == {"assist"}
    assert all(scene.boxes for scene in scenes)


def test_with_other_shares_other_scenes_are_chosen_and_there_are_always_enough(
    painted: Path,
) -> None:
    half = choose(painted, holdout=0.3, control=0.2, salt="x")
    assert len(half) == demo.SAMPLES
    arms = [
        arm_of(image_hash(s.file.read_bytes()), holdout=0.3, control=0.2, salt="x") for s in half
    ]
    assert arms == sorted(arms, key=lambda arm: arm != "assist")
    assert len(choose(painted, holdout=1.0, control=0.0, salt="")) == demo.SAMPLES


def test_boxes_are_valid_results_that_lie_where_the_objects_do(scenes: list[Scene]) -> None:
    for scene in scenes:
        results = boxes_result(scene, CONFIG)
        kept, dropped = check_results(results, CONFIG)
        assert dropped == [] and len(kept) == len(scene.boxes)
        for result, box in zip(results, scene.boxes, strict=True):
            region = decode_region(result, size=scene.size)
            assert region.box == pytest.approx(box, abs=1.0)
            assert region.labels == ("Object",)
        assert len({result["id"] for result in results}) == len(results)


def test_a_config_without_rectangles_gets_no_boxes(scenes: list[Scene]) -> None:
    config = parse_config(
        '<View><Image name="i" value="$image"/><Brush name="b" toName="i"/>'
        '<TextArea name="t" toName="i" perRegion="true"/></View>'
    )
    assert boxes_result(scenes[0], config) == []


def test_the_project_is_made_once_then_found_by_number_or_title() -> None:
    studio = FakeLabelStudio()
    client = studio.client()
    made = ensure_project(client, remembered=None, title="regiontext demo")
    assert made[1] is True
    assert parse_config(studio.projects[made[0]]["label_config"]).field("caption") is not None
    assert ensure_project(client, remembered=None, title="regiontext demo") == (made[0], False)
    studio.projects[made[0]]["title"] = "renamed by its user"
    assert ensure_project(client, remembered=made[0], title="regiontext demo") == (made[0], False)


def test_a_project_that_was_deleted_is_made_anew_and_similar_titles_are_not_taken() -> None:
    studio = FakeLabelStudio()
    studio.add_project("regiontext demo (copy)")
    number, made = ensure_project(studio.client(), remembered=77, title="regiontext demo")
    assert made and studio.projects[number]["title"] == "regiontext demo"


def test_samples_are_added_once_and_the_last_four_have_boxes(scenes: list[Scene]) -> None:
    studio = FakeLabelStudio()
    project, client = studio.add_project(config=demo.template()), studio.client()
    assert add_samples(client, project, scenes, CONFIG) == 12
    assert len(studio.tasks) == 12 and len(studio.predictions) == 4
    assert {p["model_version"] for p in studio.predictions} == {"boxes"}
    last = sorted(studio.tasks)[-4:]
    assert [p["task"] for p in studio.predictions] == last
    studio.calls.clear()
    assert add_samples(client, project, scenes, CONFIG) == 0
    assert studio.writes == []


def test_an_interrupted_upload_is_completed_not_repeated(scenes: list[Scene]) -> None:
    studio = FakeLabelStudio()
    project, client = studio.add_project(config=demo.template()), studio.client()
    add_samples(client, project, scenes, CONFIG)
    for number in sorted(studio.tasks)[5:]:
        del studio.tasks[number]
    studio.predictions.clear()
    assert add_samples(client, project, scenes, CONFIG) == 7
    assert len(studio.tasks) == 12 and len(studio.predictions) == 4


def test_the_projects_instruction_begins_with_drawing() -> None:
    first = demo._INSTRUCTION.split("</p>")[0]
    assert "drag a box" in first and "Auto-Annotation" not in first
    assert "Auto-Annotation" in demo._INSTRUCTION
