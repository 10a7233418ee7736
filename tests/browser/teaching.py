"""Many corrections at once, put in through Label Studio's API as a labeling team's work would arrive."""

from __future__ import annotations

import copy
from itertools import islice
from typing import Any

import httpx

from tests.browser.scenes import SIZE, SceneTask, Shown, add_tasks, scenes
from tests.browser.stack import Stack

__all__ = ["shape", "teach"]

CHOICES = {"plastic", "striped", "dotted", "checkered", "wooden", "brick", "woven"}


def teach(api: httpx.Client, stack: Stack, *, seed: int, count: int, material: str) -> None:
    """Upload `count` scenes with imported boxes, pre-label them in bulk, and submit what is true.

    Where a suggestion stands and is wrong it is corrected; where none stands (control, holdout) it is written.
    """
    lessons = list(islice(scenes(seed, {"material": material}), count))
    tasks = add_tasks(api, stack.project, lessons)
    for task, scene in zip(tasks, lessons, strict=True):
        shapes = [shape(index, shown) for index, shown in enumerate(scene.objects[:2])]
        api.post(
            "/api/predictions", json={"task": task, "result": shapes, "model_version": "boxes"}
        ).raise_for_status()
    stack.run("prelabel", "--project", str(stack.project))
    for task, scene in zip(tasks, lessons, strict=True):
        _submit(api, task, scene)


def _submit(api: httpx.Client, task: int, scene: SceneTask) -> None:
    predictions = api.get("/api/predictions", params={"task": task}).json()
    latest = max(predictions, key=lambda prediction: prediction["id"])
    result = [r for r in latest["result"] if r["type"] not in ("textarea", "choices")]
    for index, shown in enumerate(scene.objects[:2]):
        box = next(r for r in result if r.get("id") == f"r{index}")
        result += _fields(box, shown)
    api.post(
        f"/api/tasks/{task}/annotations",
        json={"result": result, "parent_prediction": latest["id"], "lead_time": 20.0},
    ).raise_for_status()


def shape(index: int, shown: Shown) -> dict[str, Any]:
    """The box of an object as a Label Studio result with the id `r{index}`."""
    (x0, y0, x1, y1), (width, height) = shown.box, SIZE
    return {
        "id": f"r{index}",
        "from_name": "rectangle",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {
            "x": 100 * x0 / width,
            "y": 100 * y0 / height,
            "width": 100 * (x1 - x0) / width,
            "height": 100 * (y1 - y0) / height,
            "rotation": 0,
            "rectanglelabels": ["Object"],
        },
    }


def _fields(box: dict[str, Any], shown: Shown) -> list[dict[str, Any]]:
    plain = copy.deepcopy(box)
    plain["value"].pop("rectanglelabels")
    material = shown.thing.material if shown.thing.material in CHOICES else "other"
    return [
        plain
        | {
            "from_name": "caption",
            "type": "textarea",
            "value": plain["value"] | {"text": [shown.thing.caption]},
        },
        plain
        | {
            "from_name": "material",
            "type": "choices",
            "value": plain["value"] | {"choices": [material]},
        },
    ]
