"""A model and a Label Studio in one small process, for the benchmark of pre-labelling.

    python -m benchmarks.prelabel_stub --port N --tasks N --latency-ms 200 --at-once 8

The model gives one short caption after the latency, to so many requests at once; others wait their turn, as behind a
real server. Label Studio has one project of tasks, each with an own 640 x 480 JPEG and a prediction of five boxes by
"detector". Under /stats it tells how many questions it answered, in how many seconds from the first question to the
last answer, how many tasks have predictions of ours, and how many exactly one with all captions. It parses no more
than it must: what is measured is its caller.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import uvicorn
from PIL import Image

__all__ = ["CONFIG", "REGIONS", "app", "boxes"]

REGIONS = 5
SIZE = (640, 480)
CONFIG = """<View>
  <Image name="img" value="$image"/>
  <RectangleLabels name="rect" toName="img"><Label value="Car"/><Label value="Tree"/></RectangleLabels>
  <TextArea name="caption" toName="img" perRegion="true"/>
</View>"""

_VIEW = {
    "scope": "crop", "kind": "rectangle", "context": 0.3, "min_side": 48, "max_side": 224,
    "evidence": True,
}  # fmt: skip
_MODELS = {
    "object": "list",
    "data": [{"id": "stub", "object": "model", "owned_by": "stub", "root": "", "parent": None,
              "region_input": "overlay", "view": _VIEW, "max_regions": 1}],
}  # fmt: skip
_WORDS = ["a", " red", " car"]
_ANSWER = {
    "id": "c", "object": "chat.completion", "model": "stub",
    "choices": [{
        "index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "".join(_WORDS)},
        "logprobs": {"content": [{"token": w, "logprob": -0.1} for w in _WORDS]},
    }],
}  # fmt: skip

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def boxes(task: int) -> list[dict[str, Any]]:
    """Five rectangles on the image of a task, as Label Studio keeps them."""
    rng = np.random.default_rng(task)
    found = []
    for number in range(REGIONS):
        x, y = (round(float(v), 2) for v in rng.uniform(0, 70, 2))
        w, h = (round(float(v), 2) for v in rng.uniform(8, 28, 2))
        found.append({
            "id": f"r{number}", "from_name": "rect", "to_name": "img", "type": "rectanglelabels",
            "original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0,
            "value": {"x": x, "y": y, "width": w, "height": h, "rotation": 0,
                      "rectanglelabels": ["Car" if number % 2 else "Tree"]},
        })  # fmt: skip
    return found


def app(tasks: int, latency_s: float, at_once: int) -> Any:
    """The ASGI app of both."""
    gate = asyncio.Semaphore(at_once)
    stored: dict[int, list[dict[str, Any]]] = {}
    answered, first, last = 0, 0.0, 0.0
    photo = _photo()
    project = {
        "id": 1, "title": "bulk", "label_config": CONFIG, "model_version": "",
        "show_collab_predictions": True,
    }  # fmt: skip
    answer, models = json.dumps(_ANSWER).encode(), json.dumps(_MODELS).encode()

    def task(id: int) -> dict[str, Any]:
        detected = {"id": id, "model_version": "detector", "result": boxes(id)}
        return {
            "id": id,
            "data": {"image": f"/data/upload/{id}.jpg"},
            "annotations": [],
            "predictions": [detected, *stored.get(id, [])],
        }

    def listing(asked: dict[str, list[str]]) -> dict[str, Any]:
        limit = int(asked["page_size"][0])
        query = json.loads(asked.get("query", ["{}"])[0])
        if "selectedItems" in query:
            ids = list(query["selectedItems"]["included"])
        else:
            items = query.get("filters", {}).get("items", [])
            after = items[0]["value"] if items else 0
            ids = list(range(after + 1, min(after + limit, tasks) + 1))
        return {"tasks": [task(id) for id in ids[:limit]], "total": tasks}

    async def respond(scope: dict[str, Any], body: bytes) -> tuple[int, bytes, str]:
        nonlocal answered, first, last
        path, method = scope["path"], scope["method"]
        if path == "/v1/chat/completions":
            first = first or time.monotonic()
            async with gate:
                await asyncio.sleep(latency_s)
            answered, last = answered + 1, time.monotonic()
            return 200, answer, "application/json"
        if path.startswith("/data/upload/"):
            return 200, photo + path.encode(), "image/jpeg"
        found: Any = {}
        if path == "/v1/models":
            return 200, models, "application/json"
        if path == "/api/tasks":
            found = listing(parse_qs(scope["query_string"].decode()))
        elif path.endswith("/import/predictions"):
            for item in json.loads(body):
                number = 1_000_000 + item["task"]
                kept = {"id": number, "model_version": item["model_version"]}
                captions = sum(r["type"] == "textarea" for r in item["result"])
                stored.setdefault(item["task"], []).append(kept | {"result": [], "n": captions})
        elif re.fullmatch(r"/api/projects/\d+/", path):
            if method == "PATCH":
                project.update(json.loads(body))
            found = project
        elif path == "/api/dm/views/":
            found = []
        elif path == "/stats":
            whole = sum(len(p) == 1 and p[0]["n"] == REGIONS for p in stored.values())
            found = {"answered": answered, "seconds": last - first, "whole": whole}
            found["stored"] = len(stored)
        return 200, json.dumps(found).encode(), "application/json"

    async def asgi(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        parts = []
        while True:
            message = await receive()
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        status, payload, kind = await respond(scope, b"".join(parts))
        headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(payload))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    return asgi


def _photo() -> bytes:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize(SIZE, Image.Resampling.BICUBIC).save(file, format="JPEG", quality=90)
    return file.getvalue()


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--latency-ms", type=float, default=200.0)
    parser.add_argument("--at-once", type=int, default=16)
    args = parser.parse_args()
    served = app(args.tasks, args.latency_ms / 1000, args.at_once)
    uvicorn.run(served, host="127.0.0.1", port=args.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
