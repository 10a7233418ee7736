"""The sample project: a labeling config of ours, twelve generated scenes, and boxes to pre-label on the last four.

Every step looks at what is there first, so it may be run again after any interruption. Scenes are chosen so that their
images fall in the assist arm: the others are not pre-filled, which would look like a fault to a newcomer.
"""

from __future__ import annotations

import importlib.resources
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from backend.label_studio_call import Refused, call
from backend.up.errors import UpError
from regiontext.images import image_hash
from regiontext.labelstudio.config import LabelingConfig
from regiontext.labelstudio.encode import encode_region
from regiontext.records.arm import arm_of
from regiontext.region import Region

__all__ = [
    "BOXES_VERSION",
    "SAMPLES",
    "Scene",
    "add_samples",
    "boxes_result",
    "choose",
    "ensure_project",
    "painting_command",
    "template",
]

SAMPLES = 12
WITH_BOXES = 4
BOXES_VERSION = "boxes"
# More than are used: some fall into the other arms.
_CANDIDATES = 20
_SEED = 20_231

_DESCRIPTION = "Generated scenes to try regiontext on. Draw a region and its caption appears."
_INSTRUCTION = (
    "<p>Press <b>1</b> and drag a box around an object: its caption and material appear. Press <b>1</b> before each "
    "further box. Correct what is wrong and submit.</p>"
    "<p>If nothing appears, the assistant is off: switch on <b>Auto-Annotation</b> and <b>Auto-Accept Suggestions</b> "
    "at the bottom and take the pink tool at the end of the toolbar.</p>"
    "<p>Regions that are there already, of any shape: write <b>caption all</b> into the field "
    "<b>Ask for all regions</b> and press Shift+Enter.</p>"
)


@dataclass(frozen=True)
class Scene:
    """One painted scene: its file, its size (W, H) px and the boxes of its objects, (x0, y0, x1, y1) px."""

    file: Path
    size: tuple[int, int]
    boxes: tuple[tuple[float, float, float, float], ...]


def template(name: str = "attributes_relations") -> str:
    """Return a labeling config of templates/, by its name without .xml."""
    return (importlib.resources.files("templates") / f"{name}.xml").read_text(encoding="utf-8")


def painting_command(out: Path) -> tuple[str, ...]:
    """Return the command that paints the candidates into `out` (model_server.worlds)."""
    return (
        *(sys.executable, "-m", "model_server.worlds", str(out)),
        *("--count", str(_CANDIDATES), "--seed", str(_SEED)),
    )


def choose(
    out: Path, *, holdout: float, control: float, salt: str, count: int = SAMPLES
) -> list[Scene]:
    """Return `count` of the painted scenes: those of the assist arm first, others only if these are too few."""
    scenes = [
        Scene(
            file=out / entry["file"],
            size=(int(entry["size"][0]), int(entry["size"][1])),
            boxes=tuple(tuple(thing["box"]) for thing in entry["objects"]),
        )
        for entry in json.loads((out / "scenes.json").read_text(encoding="utf-8"))
    ]
    assisted = [
        scene
        for scene in scenes
        if arm_of(image_hash(scene.file.read_bytes()), holdout=holdout, control=control, salt=salt)
        == "assist"
    ]
    others = [scene for scene in scenes if scene not in assisted]
    return (assisted + others)[:count]


def ensure_project(client: httpx.Client, *, remembered: int | None, title: str) -> tuple[int, bool]:
    """Return the number of our project and whether it was made just now.

    The remembered one is taken if it still exists, whatever it is called now; otherwise one of this title.
    """
    if remembered is not None:
        try:
            return int(call(client, "GET", f"/api/projects/{remembered}/")["id"]), False
        except Refused as refused:
            if refused.status not in (403, 404):
                raise
    found = call(client, "GET", "/api/projects/", params={"title": title, "page_size": 100})
    for project in found["results"]:
        if project["title"] == title:
            return int(project["id"]), False
    made = call(
        client,
        "POST",
        "/api/projects/",
        json={
            "title": title,
            "description": _DESCRIPTION,
            "expert_instruction": _INSTRUCTION,
            "label_config": template(),
        },
    )
    return int(made["id"]), True


def add_samples(
    client: httpx.Client,
    project: int,
    scenes: Sequence[Scene],
    config: LabelingConfig,
    *,
    note: Callable[[str], None] = lambda line: None,
) -> int:
    """Upload the scenes that are not there yet, with boxes on the last four; return how many tasks were made."""
    named = {f"sample-{index + 1:02}.png": scene for index, scene in enumerate(scenes)}
    present = _tasks_by_file(client, project)
    missing = [name for name in named if name not in present]
    if missing:
        note(f"uploading {len(missing)} sample scenes")
        files = [(name, (name, named[name].file.read_bytes(), "image/png")) for name in missing]
        call(client, "POST", f"/api/projects/{project}/import", files=files, timeout=120)
        present = _tasks_by_file(client, project)
    absent = [name for name in named if name not in present]
    if absent:
        raise UpError(
            f"Label Studio took the sample scenes but shows no task for {', '.join(absent)}: "
            f"see the project's import page, or delete project {project} and start again"
        )
    for name in list(named)[-WITH_BOXES:]:
        task, scene = present[name], named[name]
        # Any prediction counts, also one that pre-labelling made since.
        if task["total_predictions"] or not scene.boxes:
            continue
        note(f"adding boxes to {name}")
        call(
            client,
            "POST",
            "/api/predictions/",
            json={
                "task": task["id"],
                "model_version": BOXES_VERSION,
                "result": boxes_result(scene, config),
            },
        )
    return len(missing)


def boxes_result(scene: Scene, config: LabelingConfig) -> list[dict[str, Any]]:
    """Return a scene's boxes as results of the config's first rectangle control; empty when it has none."""
    shape = next((s for s in config.shapes if s.type in ("rectanglelabels", "rectangle")), None)
    if shape is None:
        return []
    stem = scene.file.stem
    return [
        encode_region(
            Region.from_box(f"{stem}-{index}", box, scene.size, shape.labels[:1]),
            from_name=shape.name,
            to_name=shape.to_name,
            type=shape.type,
        )
        for index, box in enumerate(scene.boxes)
    ]


def _tasks_by_file(client: httpx.Client, project: int) -> dict[str, dict[str, Any]]:
    """Return the project's uploaded tasks by the file name they were uploaded under."""
    found = call(
        client,
        "GET",
        "/api/tasks/",
        params={"project": project, "page_size": 1000, "fields": "all"},
    )
    tasks: dict[str, dict[str, Any]] = {}
    for task in found["tasks"]:
        # Label Studio puts eight characters and a dash before the name.
        name = str(task.get("file_upload") or "").rsplit("/", 1)[-1].partition("-")[2]
        tasks.setdefault(name, task)
    return tasks
