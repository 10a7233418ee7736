"""Interactive calls as tests make them, and what is read of their answers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from backend.clicks import mask_id
from regiontext.labelstudio.decode import is_shape
from regiontext.labelstudio.results import read_results, text_of
from tests.backend.conftest import SetStage, Stage
from tests.backend.stub_sam import StubSam

__all__ = [
    "CLICKED",
    "Payload",
    "Results",
    "asking",
    "calling",
    "captions",
    "drafted",
    "first_click",
    "notes",
    "point",
    "rectangle",
    "same_shape",
    "text",
]

Payload = Callable[[str], Any]
Results = list[dict[str, Any]]

# The mask of the recorded click.
CLICKED = mask_id("l2PlCsyeFk")


def rectangle(id: str, label: str = "Car", **value: Any) -> dict[str, Any]:
    place = {"x": 10.0, "y": 20.0, "width": 20.0, "height": 25.0, "rotation": 0} | value
    return {
        "original_width": 800,
        "original_height": 600,
        "image_rotation": 0,
        "value": place | {"rectanglelabels": [label]},
        "id": id,
        "from_name": "rect",
        "to_name": "img",
        "type": "rectanglelabels",
        "origin": "manual",
    }


def text(shape: dict[str, Any], words: list[str], name: str = "caption") -> dict[str, Any]:
    value = {k: v for k, v in shape["value"].items() if not k.endswith("labels")}
    return {
        **{k: shape[k] for k in ("original_width", "original_height", "image_rotation", "id")},
        "from_name": name,
        "to_name": "img",
        "type": "textarea",
        "origin": "manual",
        "value": value | {"text": words},
    }


def calling(body: dict[str, Any], *context: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(body)
    made["params"]["context"]["result"] = list(context)
    return made


def drafted(body: dict[str, Any], *results: dict[str, Any], age: float = 1.0) -> dict[str, Any]:
    made = copy.deepcopy(body)
    when = datetime.now(UTC) - timedelta(seconds=age)
    made["tasks"][0]["drafts"] = [
        {"id": 1, "user": "a@b.c", "result": list(results), "updated_at": when.isoformat()}
    ]
    return made


def captions(results: Results) -> dict[str, tuple[str, ...]]:
    fields = read_results(results).fields
    return {
        id: text_of(by_name["caption"]) for id, by_name in fields.items() if "caption" in by_name
    }


def notes(results: Results) -> dict[str, list[str]]:
    return {
        item["id"]: item["meta"]["text"]
        for item in results
        if is_shape(item) and "text" in item.get("meta", {})
    }


def same_shape(given: dict[str, Any], back: Results) -> bool:
    found = [item for item in back if item.get("id") == given["id"] and is_shape(item)]
    return len(found) == 1 and all(found[0][key] == given[key] for key in given if key != "meta")


def asking(body: dict[str, Any], *entries: str) -> dict[str, Any]:
    prompt = {
        "id": "prompt1",
        "value": {"text": list(entries)},
        "from_name": "prompt",
        "to_name": "img",
        "type": "textarea",
        "origin": "manual",
    }
    return calling(body, prompt)


def point(body: dict[str, Any], id: str, x: float, y: float, positive: bool = True) -> Any:
    made = copy.deepcopy(body["params"]["context"]["result"][0])
    made["value"] |= {"x": x, "y": y}
    return made | {"id": id, "is_positive": positive}


def first_click(set_stage: SetStage, body: dict[str, Any], **given: Any) -> tuple[Stage, Results]:
    stage = set_stage(stub=StubSam(), **given)
    return stage, stage.predict(body)
