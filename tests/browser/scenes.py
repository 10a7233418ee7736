"""Scenes of the generated world as tasks of a Label Studio project, with what is true about them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx
import numpy as np

from model_server.worlds.paint import paint
from model_server.worlds.scenes import Object, sample_scene
from regiontext.images import image_hash
from regiontext.records.arm import arm_of
from regiontext.region import Region

__all__ = ["SIZE", "Shown", "SceneTask", "add_task", "add_tasks", "scenes"]

SIZE = (640, 480)


@dataclass(frozen=True)
class Shown:
    """One object of a scene: its words and the tight box (x0, y0, x1, y1) px of what is seen of it."""

    thing: Object
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class SceneTask:
    """A picture as PNG bytes, its arm, and its objects; those with enough to see only."""

    name: str
    png: bytes
    arm: str
    objects: tuple[Shown, ...]


def scenes(seed: int, must_have: Mapping[str, str] | None = None) -> Iterator[SceneTask]:
    """Endless scenes of 640x480, the first object as `must_have` says and not hidden by others."""
    rng = np.random.default_rng(seed)
    index = 0
    while True:
        scene = sample_scene(rng, size=SIZE, objects=3, must_have=must_have)
        picture, masks = paint(scene)
        index += 1
        if not masks or any(mask.sum() < 300 for mask in masks):
            continue
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        data = buffer.getvalue()
        shown = tuple(
            Shown(thing, Region.from_mask(str(i), mask).box)
            for i, (thing, mask) in enumerate(zip(scene.objects, masks, strict=True))
        )
        yield SceneTask(f"scene-{seed}-{index}.png", data, arm_of(image_hash(data)), shown)


def add_task(api: httpx.Client, project: int, scene: SceneTask) -> int:
    """Upload the picture as a task of the project; returns the task's id."""
    (task,) = add_tasks(api, project, [scene])
    return task


def add_tasks(api: httpx.Client, project: int, pictures: Sequence[SceneTask]) -> list[int]:
    """Upload pictures as tasks, one request each so that the order of the ids is theirs."""
    known = _task_ids(api, project)
    for scene in pictures:
        file = {"file": (scene.name, scene.png, "image/png")}
        api.post(f"/api/projects/{project}/import", files=file).raise_for_status()
    added = sorted(_task_ids(api, project) - known)
    assert len(added) == len(pictures), f"{len(added)} tasks came of {len(pictures)} uploads"
    return added


def _task_ids(api: httpx.Client, project: int) -> set[int]:
    answer = api.get("/api/tasks", params={"project": project, "page_size": 1000})
    answer.raise_for_status()
    return {task["id"] for task in answer.json()["tasks"]}
