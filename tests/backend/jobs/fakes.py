"""A Label Studio and a model server in memory, each behind a real HTTP port.

Only what the jobs call. The real ones are used by test_prelabel_real.py and the browser tests.
"""

from __future__ import annotations

import io
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from PIL import Image, ImageDraw

from tests.label_studio_server import free_port

CONFIG = """<View>
  <Relations><Relation value="next to"/><Relation value="holds"/></Relations>
  <Image name="img" value="$image"/>
  <RectangleLabels name="rect" toName="img" smart="true">
    <Label value="Car"/><Label value="Tree"/></RectangleLabels>
  <TextArea name="caption" toName="img" perRegion="true" editable="true"/>
  <Choices name="quality" toName="img" perRegion="true">
    <Choice value="clear"/><Choice value="occluded"/></Choices>
  <TextArea name="relcaption" toName="img" smart="false"/>
</View>"""

KEY = "k" * 40
COLOURS = ("red", "green", "blue", "orange", "purple", "brown", "pink", "grey")


def picture(seed: int) -> bytes:
    """A PNG of 80 x 60 with two squares; each seed gives other bytes."""
    image = Image.new("RGB", (80, 60), "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle((8, 6, 27, 20), fill=COLOURS[seed % len(COLOURS)])
    pen.rectangle((48, 30, 71, 53), fill=COLOURS[(seed + 3) % len(COLOURS)])
    image.putpixel((79, 59), (seed % 256, seed // 256 % 256, 7))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def another_picture(seed: int) -> bytes:
    """A picture of 80 x 60 that is no near duplicate of another seed's.

    A BMP: its bytes, and so its arm and split, are the same with every version of the libraries that compress.
    """
    noise = Random(seed)
    image = Image.new("RGB", (8, 6))
    image.putdata([tuple(noise.randrange(256) for _ in "rgb") for _ in range(48)])
    buffer = io.BytesIO()
    image.resize((80, 60), Image.Resampling.NEAREST).save(buffer, format="BMP")
    return buffer.getvalue()


def box(region: str, label: str = "Car", *, second: bool = False, **extra: Any) -> dict[str, Any]:
    x, y, w, h = (60, 50, 30, 40) if second else (10, 10, 25, 25)
    return {
        "id": region, "from_name": "rect", "to_name": "img", "type": "rectanglelabels",
        "original_width": 80, "original_height": 60, "image_rotation": 0,
        "value": {"x": x, "y": y, "width": w, "height": h, "rotation": 0,
                  "rectanglelabels": [label]},
    } | extra  # fmt: skip


def two_boxes(prefix: str = "r") -> list[dict[str, Any]]:
    return [box(f"{prefix}1"), box(f"{prefix}2", "Tree", second=True)]


def caption(region: str, text: str, **extra: Any) -> dict[str, Any]:
    return {
        "id": region, "from_name": "caption", "to_name": "img", "type": "textarea",
        "value": {"x": 10, "y": 10, "width": 25, "height": 25, "rotation": 0, "text": [text]},
    } | extra  # fmt: skip


def quality(region: str, choice: str) -> dict[str, Any]:
    return {
        "id": region, "from_name": "quality", "to_name": "img", "type": "choices",
        "value": {"x": 10, "y": 10, "width": 25, "height": 25, "rotation": 0, "choices": [choice]},
    }  # fmt: skip


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@dataclass
class FakeLabelStudio:
    url: str = ""
    projects: dict[int, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    predictions: dict[int, dict[str, Any]] = field(default_factory=dict)
    annotations: dict[int, dict[str, Any]] = field(default_factory=dict)
    drafts: dict[int, dict[str, Any]] = field(default_factory=dict)
    views: list[dict[str, Any]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    refuse: Callable[[str, str], int | None] = lambda method, path: None
    before_create: Callable[[dict[str, Any]], None] = lambda body: None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add_project(self, config: str = CONFIG, **extra: Any) -> int:
        id = next(self._numbers)
        self.projects[id] = {
            "id": id, "title": f"project {id}", "label_config": config,
            "model_version": "regiontext", "show_collab_predictions": True,
        } | extra  # fmt: skip
        return id

    def add_task(self, project: int, image: bytes, **data: Any) -> int:
        id = next(self._numbers)
        name = f"{id}.png"
        self.uploads[name] = image
        self.tasks[id] = {
            "id": id, "project": project, "data": {"image": f"/data/upload/{name}"} | data
        }  # fmt: skip
        return id

    def add_prediction(
        self, task: int, result: list[dict[str, Any]], version: str | None = "detector"
    ) -> int:
        id = next(self._numbers)
        self.predictions[id] = {
            "id": id, "task": task, "project": self.tasks[task]["project"], "result": result,
            "model_version": version, "score": None, "created_at": now(), "updated_at": now(),
        }  # fmt: skip
        return id

    def add_annotation(
        self, task: int, result: list[dict[str, Any]], *, by: int = 1, **extra: Any
    ) -> dict[str, Any]:
        id = next(self._numbers)
        self.annotations[id] = {
            "id": id, "task": task, "project": self.tasks[task]["project"], "result": result,
            "completed_by": by, "was_cancelled": False, "lead_time": 3.0,
            "created_at": now(), "updated_at": now(), "parent_prediction": None,
        } | extra  # fmt: skip
        return self.annotations[id]

    def update_annotation(self, id: int, result: list[dict[str, Any]], **extra: Any) -> None:
        self.annotations[id] |= {"result": result, "updated_at": now()} | extra

    def add_draft(self, task: int, result: list[dict[str, Any]]) -> None:
        id = next(self._numbers)
        self.drafts[id] = {"id": id, "task": task, "result": result, "updated_at": now()}

    def predictions_of(self, task: int, version: str | None = None) -> list[dict[str, Any]]:
        found = [p for p in self.predictions.values() if p["task"] == task]
        return [p for p in found if version is None or p["model_version"] == version]

    def event(self, action: str, *annotations: dict[str, Any]) -> dict[str, Any]:
        """The body of a webhook, as Label Studio sends it."""
        project = self.projects[annotations[0]["project"]]
        if action == "ANNOTATIONS_DELETED":
            gone = [{"id": annotation["id"]} for annotation in annotations]
            return {"action": action, "annotations": gone, "project": project}
        many = action == "ANNOTATIONS_CREATED"
        tasks = [self.tasks[annotation["task"]] for annotation in annotations]
        return {
            "action": action,
            "annotation": list(annotations) if many else annotations[0],
            "task": tasks if many else tasks[0],
            "project": project,
        }

    def _full(self, task: dict[str, Any]) -> dict[str, Any]:
        annotations = [a for a in self.annotations.values() if a["task"] == task["id"]]
        return task | {
            "annotations": annotations,
            "predictions": self.predictions_of(task["id"]),
        }

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def check(request: Request, go_on: Any) -> Response:
            self.calls.append(f"{request.method} {request.url.path}")
            if request.headers.get("authorization") != f"Token {KEY}":
                return Response('{"detail": "no key"}', 401)
            status = self.refuse(request.method, request.url.path)
            if status is not None:
                return Response('{"detail": "refused by the test"}', status)
            answer: Response = await go_on(request)
            return answer

        @app.get("/api/projects/{id}/")
        def project(id: int) -> Any:
            return found(self.projects, id)

        @app.patch("/api/projects/{id}/")
        def change(id: int, body: dict[str, Any]) -> Any:
            self.projects[id] |= body
            return self.projects[id]

        @app.get("/api/tasks")
        def listing(
            project: int, page: int, page_size: int, fields: str = "", query: str = "{}"
        ) -> Any:
            tasks = [task for task in self.tasks.values() if task["project"] == project]
            asked = json.loads(query)
            for item in asked.get("filters", {}).get("items", []):
                assert (item["filter"], item["operator"]) == ("filter:tasks:id", "greater")
                tasks = [task for task in tasks if task["id"] > item["value"]]
            if "selectedItems" in asked:
                tasks = [task for task in tasks if task["id"] in asked["selectedItems"]["included"]]
            part = tasks[(page - 1) * page_size : page * page_size]
            if not part and page > 1:
                raise HTTPException(404)
            shown = [self._full(task) for task in part] if fields == "all" else part
            return {"tasks": shown, "total": len(tasks)}

        @app.get("/api/tasks/{id}/")
        def task(id: int) -> Any:
            return self._full(found(self.tasks, id))

        @app.get("/api/tasks/{id}/drafts")
        def drafts(id: int) -> Any:
            return [draft for draft in self.drafts.values() if draft["task"] == id]

        @app.get("/api/tasks/{id}/annotations/")
        def annotations(id: int) -> Any:
            return self._full(found(self.tasks, id))["annotations"]

        @app.get("/api/predictions/")
        def predictions(task: int) -> Any:
            return self.predictions_of(task)

        @app.post("/api/predictions/", status_code=201)
        def predict(body: dict[str, Any]) -> Any:
            self.before_create(body)
            id = self.add_prediction(body["task"], body["result"], body["model_version"])
            self.predictions[id]["score"] = body["score"]
            return self.predictions[id]

        @app.post("/api/projects/{project}/import/predictions", status_code=201)
        def predict_many(project: int, body: list[dict[str, Any]]) -> Any:
            for item in body:
                self.before_create(item)
                id = self.add_prediction(item["task"], item["result"], item["model_version"])
                self.predictions[id]["score"] = item["score"]
            return {"created": len(body)}

        @app.get("/api/dm/views/")
        def views(project: int) -> Any:
            return [view for view in self.views if view["project"] == project]

        @app.post("/api/dm/views/", status_code=201)
        def add_view(body: dict[str, Any]) -> Any:
            self.views.append(body)
            return body

        @app.delete("/api/predictions/{id}/", status_code=204)
        def unpredict(id: int) -> None:
            found(self.predictions, id)
            del self.predictions[id]
            for annotation in self.annotations.values():
                if annotation["parent_prediction"] == id:
                    annotation["parent_prediction"] = None

        @app.get("/api/annotations/{id}/")
        def annotation(id: int) -> Any:
            return found(self.annotations, id)

        @app.get("/api/ml")
        def backends(project: int) -> Any:
            return []

        @app.get("/data/upload/{name}")
        def upload(name: str) -> Response:
            return Response(found(self.uploads, name), media_type="image/png")

        return app


def found(table: dict[Any, Any], id: Any) -> Any:
    if id not in table:
        raise HTTPException(404)
    return table[id]


Say = Callable[[str, str, list[str]], str]


def say(model: str, prompt: str, options: list[str]) -> str:
    """The first option, or words that depend on the prompt alone."""
    return options[0] if options else f"words about {prompt.split('?')[0].split('.')[0].lower()}"


@dataclass
class FakeModelServer:
    url: str = ""
    base: str = "tiny"
    root: str = ""
    view: dict[str, Any] | None = None
    say: Say = say
    asked: list[tuple[str, str, list[str]]] = field(default_factory=list)
    adapters: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    down: bool = False

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/v1/models")
        def models() -> Any:
            def entry(id: str, root: str, parent: str | None) -> dict[str, Any]:
                return {
                    "id": id, "object": "model", "owned_by": "regiontext", "root": root,
                    "parent": parent, "region_input": "overlay", "view": self.view,
                    "max_regions": 2,
                }  # fmt: skip

            adapters = [entry(name, path, self.base) for name, path in self.adapters.items()]
            return {"object": "list", "data": [entry(self.base, self.root, None), *adapters]}

        @app.post("/v1/chat/completions")
        def chat(body: dict[str, Any], response: Response) -> Any:
            time.sleep(self.delay_s)
            if self.down:
                response.status_code = 503
                return {"error": {"message": "out of memory", "type": "ServerError", "code": 503}}
            if body["model"] not in (self.base, *self.adapters):
                response.status_code = 404
                message = f"The model `{body['model']}` does not exist."
                return {"error": {"message": message, "type": "NotFoundError", "code": 404}}
            prompt = body["messages"][0]["content"][-1]["text"]
            options = (body.get("structured_outputs") or {}).get("choice") or []
            self.asked.append((body["model"], prompt, options))
            text = self.say(body["model"], prompt, options)
            return {
                "id": "x", "object": "chat.completion", "model": body["model"],
                "choices": [{
                    "index": 0, "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text},
                    "logprobs": {"content": [
                        {"token": word, "logprob": -0.1, "bytes": [], "top_logprobs": []}
                        for word in text.split()
                    ]},
                }],
            }  # fmt: skip

        @app.post("/v1/load_lora_adapter")
        def load(body: dict[str, str], response: Response) -> Any:
            if body["lora_name"] in self.adapters:
                response.status_code = 400
                return {"error": {"message": "already loaded", "type": "x", "code": 400}}
            self.adapters[body["lora_name"]] = body["lora_path"]
            return {"message": "loaded"}

        @app.post("/v1/unload_lora_adapter")
        def unload(body: dict[str, str], response: Response) -> Any:
            if self.adapters.pop(body["lora_name"], None) is None:
                response.status_code = 404
                return {"error": {"message": "not found", "type": "x", "code": 404}}
            return {"message": "unloaded"}

        return app


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The app on a port of the loopback address, in a thread."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="on")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
