"""A Label Studio in memory: the few routes that connecting and the sample project use, with its quirks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

URL = "http://label-studio.test"
CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="rectangle" toName="image"><Label value="Object"/></RectangleLabels>
<TextArea name="caption" toName="image" perRegion="true"/></View>"""


@dataclass
class FakeLabelStudio:
    """State and behaviour; `calls` remembers what was asked, as "METHOD /path"."""

    projects: dict[int, dict[str, Any]] = field(default_factory=dict)
    backends: dict[int, dict[str, Any]] = field(default_factory=dict)
    hooks: dict[int, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    release: str = "1.23.2"
    # Told what is sent to a webhook: its entry and the action.
    sent: Callable[[dict[str, Any], str], None] = lambda hook, action: None
    refuse: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
    _next: int = 0

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=URL, transport=httpx.MockTransport(self._answer))

    def add_project(self, title: str = "demo", config: str = CONFIG) -> int:
        number = self._number()
        self.projects[number] = {
            "id": number, "title": title, "label_config": config, "model_version": "",
            "created_at": "2026-11-21T05:11:51.672476Z",
        }  # fmt: skip
        return number

    @property
    def writes(self) -> list[str]:
        return [call for call in self.calls if not call.startswith("GET")]

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.rstrip("/")
        self.calls.append(f"{request.method} {path}")
        if (refusal := self.refuse(request)) is not None:
            return refusal
        query = dict(request.url.params)
        multipart = request.headers.get("content-type", "").startswith("multipart/")
        body = {} if multipart or not request.content else json.loads(request.content)
        if match := re.fullmatch(r"/api/projects/(\d+)/import", path):
            return self._import(int(match[1]), request.content)
        if match := re.fullmatch(r"/api/(projects|ml|webhooks)/(\d+)", path):
            return self._one(match[1], int(match[2]), request.method, body)
        return self._collection(path, request.method, query, body)

    def _one(self, kind: str, number: int, method: str, body: dict[str, Any]) -> httpx.Response:
        table = {"projects": self.projects, "ml": self.backends, "webhooks": self.hooks}[kind]
        if number not in table:
            return httpx.Response(404, json={"detail": "Not found."})
        if method == "DELETE":
            del table[number]
            return httpx.Response(204)
        if method == "PATCH":
            if kind == "webhooks":
                # As the real one: an update that does not name the actions empties them.
                table[number]["actions"] = []
            table[number].update(body)
            if kind == "projects":
                for hook in self.hooks.values():
                    if hook["send_for_all_actions"] or "PROJECT_UPDATED" in hook["actions"]:
                        self.sent(hook, "PROJECT_UPDATED")
            if kind == "ml":
                table[number] |= {"state": "CO", "readable_state": "Connected"}
        return httpx.Response(200, json=table[number])

    def _collection(
        self, path: str, method: str, query: dict[str, str], body: dict[str, Any]
    ) -> httpx.Response:
        if path == "/api/projects" and method == "GET":
            found = [p for p in self.projects.values() if query["title"] in p["title"]]
            return httpx.Response(200, json={"results": found})
        if path == "/api/projects":
            number = self.add_project(body["title"], body["label_config"])
            return httpx.Response(201, json=self.projects[number])
        if path == "/api/version":
            return httpx.Response(200, json={"release": self.release})
        if path == "/api/current-user/whoami":
            return httpx.Response(200, json={"email": "anna@example.com"})
        if path == "/api/ml" and method == "GET":
            return httpx.Response(200, json=list(self.backends.values()))
        if path == "/api/ml":
            number = self._number()
            self.backends[number] = {**body, "id": number, "state": "CO"}
            self._auto_hook(body)
            project = self.projects[body["project"]]
            project["model_version"] = project["model_version"] or body["title"]
            return httpx.Response(201, json=self.backends[number])
        if path == "/api/webhooks" and method == "GET":
            return httpx.Response(200, json=list(self.hooks.values()))
        if path == "/api/webhooks":
            number = self._number()
            self.hooks[number] = {**body, "id": number}
            return httpx.Response(201, json=self.hooks[number])
        if path == "/api/tasks":
            return httpx.Response(200, json={"tasks": list(self.tasks.values())})
        if path == "/api/predictions":
            self.predictions.append(body)
            self.tasks[body["task"]]["total_predictions"] += 1
            return httpx.Response(201, json=body)
        return httpx.Response(404, text="<html>")

    def _auto_hook(self, body: dict[str, Any]) -> None:
        number = self._number()
        self.hooks[number] = {
            "id": number, "url": body["url"] + "/webhook", "project": body["project"],
            "send_payload": True, "send_for_all_actions": True, "headers": {}, "actions": [],
            "is_active": True,
        }  # fmt: skip

    def _import(self, project: int, content: bytes) -> httpx.Response:
        for name in re.findall(rb'filename="([^"]+)"', content):
            number = self._number()
            self.tasks[number] = {
                "id": number, "project": project, "total_predictions": 0,
                "file_upload": f"{number:08x}-{name.decode()}",
            }  # fmt: skip
        return httpx.Response(201, json={"task_count": len(self.tasks)})
