"""A labeling project with every shape, a model that behaves as it is told, and pages of several annotators.

What the tests of the editor share: one Label Studio, one backend over a real port, a model server over another. Tests
wait for what they can see, in the page or through Label Studio's API, never for a while.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from playwright.sync_api import Browser, BrowserContext, Page, Route, ViewportSize, expect

from regiontext.labelstudio.decode import is_shape
from tests.backend.site import Site
from tests.backend.stub_sam import StubSam
from tests.backend.waiting import wait_for
from tests.browser.drawing import Drawing
from tests.browser.editor import sign_in
from tests.label_studio_server import LabelStudioServer

__all__ = [
    "BITMASK",
    "BOX",
    "Box",
    "BRUSH",
    "CEILING",
    "DOT",
    "ELLIPSE",
    "MoodyModel",
    "OTHER_BOX",
    "PATH",
    "POINT",
    "POLYGON",
    "SIZE",
    "Workplace",
    "XML",
    "accept_suggestions",
    "answered",
    "asked",
    "drafts_held_back",
    "shapes_in",
]

SIZE = (800, 600)
CEILING = 30.0
"""Seconds that a test waits at most for what takes one on a quiet machine."""

Box = tuple[float, float, float, float]
"""The corners x0, y0, x1, y1 px, on multiples of 40 x 30 for `Workplace.assert_kept`."""

# A label's key is its place in the config.
BOX, OTHER_BOX, ELLIPSE, POLYGON, BRUSH, BITMASK, PATH, POINT, DOT = "123456789"
XML = """<View style="display: flex">
  <View style="flex: 1 1 auto"><Image name="img" value="$image" zoom="true" zoomControl="true"/></View>
  <View style="flex: 0 0 240px">
    <RectangleLabels name="rect" toName="img" smart="true" canRotate="true">
      <Label value="Car"/><Label value="Person"/>
    </RectangleLabels>
    <EllipseLabels name="ellipse" toName="img"><Label value="Car"/></EllipseLabels>
    <PolygonLabels name="polygon" toName="img"><Label value="Car"/></PolygonLabels>
    <BrushLabels name="brush" toName="img"><Label value="Car"/></BrushLabels>
    <BitmaskLabels name="bitmask" toName="img"><Label value="Car"/></BitmaskLabels>
    <VectorLabels name="path" toName="img" closable="true"><Label value="Car"/></VectorLabels>
    <KeyPointLabels name="point" toName="img" smart="true" strokeWidth="12">
      <Label value="Car"/><Label value="Dot"/>
    </KeyPointLabels>
    <TextArea name="caption" toName="img" perRegion="true" editable="true" maxSubmissions="1"
              displayMode="region-list" rows="2"/>
    <TextArea name="prompt" toName="img" smart="true" editable="true" rows="1" placeholder="prompt"/>
    <TextArea name="relations" toName="img" smart="false" editable="true" rows="3"/>
  </View>
</View>"""


@dataclass
class MoodyModel(StubSam):
    """Numbers its captions; `gate` holds every answer back while it is closed, `mood` answers in the model's stead."""

    gate: threading.Event = field(default_factory=threading.Event)
    mood: Callable[[dict[str, Any]], Response | None] | None = None
    waiting: int = 0

    def __post_init__(self) -> None:
        numbers = iter(range(1, 10_000))
        self.say = self._first_say = lambda words, options: f"caption {next(numbers)}"
        self.gate.set()

    def well_again(self) -> None:
        """As at the beginning."""
        self.say, self.mood = self._first_say, None
        self.gate.set()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Nothing is answered inside."""
        self.gate.clear()
        try:
            yield
        finally:
            self.gate.set()

    def app(self) -> FastAPI:
        app = super().app()

        @app.middleware("http")
        async def moody(request: Request, call_next: Any) -> Response:
            if request.method != "POST":
                found: Response = await call_next(request)
                return found
            self.waiting += 1
            try:
                while not self.gate.is_set():
                    await asyncio.sleep(0.02)
            finally:
                self.waiting -= 1
            if self.mood is not None and request.url.path.endswith("/completions"):
                body = await request.json()
                if (answer := self.mood(body)) is not None:
                    return answer
            found = await call_next(request)
            return found

        return app


class Workplace:
    """Annotators at the pages of one project."""

    def __init__(self, browser: Browser, server: LabelStudioServer, site: Site) -> None:
        self.browser, self.server, self.site = browser, server, site
        self._states: dict[str, Any] = {}
        self._open: list[BrowserContext] = []
        self.failures: list[str] = []

    def page(self, email: str | None = None, *, beside: Page | None = None) -> Page:
        """A signed-in page; of another annotator if `email` says so; another tab of the browser of `beside`."""
        if beside is not None:
            context = beside.context
        else:
            context = self._context(email or self.server.email)
            self._open.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.failures.append(str(error)))
        return page

    def editor(self, page: Page, task: int) -> Drawing:
        """The task opened in the page."""
        opened = Drawing(page, self.server.url, self.site.project)
        opened.open(task, SIZE)
        return opened

    def at_work(self, task: int, *, accept: bool = True) -> Drawing:
        """The task opened in a new page, with auto-annotation on, and auto-accept as `accept` says."""
        editor = self.editor(self.page(), task)
        editor.auto_annotation(accept=accept)
        return editor

    def colleague(self, email: str = "colleague@example.com") -> str:
        """The address of a second annotator of the organization, who signs up by its invitation."""
        link = self.site.call("GET", "/api/invite")["invite_url"]
        with httpx.Client(base_url=self.server.url, follow_redirects=True) as http:
            http.get(link)
            form = {
                "email": email,
                "password": self.server.password,
                "allow_newsletters": "false",
                "csrfmiddlewaretoken": http.cookies["csrftoken"],
            }
            answer = http.post(link, data=form)
            assert answer.status_code < 400, answer.text[:500]
        return email

    def close(self) -> list[str]:
        """Close what was opened for a test; the scripts that failed in it."""
        for context in self._open:
            context.close()
        self._open.clear()
        failures, self.failures = self.failures, []
        return failures

    def draft(self, task: int, email: str | None = None) -> list[dict[str, Any]]:
        """What the newest draft of the task (of that annotator) holds, nothing without one."""
        drafts = self.site.call("GET", f"/api/tasks/{task}/drafts")
        mine = [d for d in drafts if email is None or email in str(d.get("user"))]
        newest = max(mine, key=lambda d: str(d["updated_at"]), default={"result": []})
        results: list[dict[str, Any]] = newest["result"]
        return results

    def drafted(self, task: int, count: int, email: str | None = None) -> list[dict[str, Any]]:
        """The draft, once it holds that many shapes."""
        wait_for(lambda: len(shapes_in(self.draft(task, email))) == count, seconds=CEILING)
        return self.draft(task, email)

    def annotations(self, task: int) -> list[dict[str, Any]]:
        """The annotations of the task, in the order of their making."""
        found: list[dict[str, Any]] = self.site.call("GET", f"/api/tasks/{task}/annotations")
        return sorted(found, key=lambda annotation: int(annotation["id"]))

    def submitted(self, task: int) -> list[dict[str, Any]]:
        """The results of the one annotation of the task."""
        (annotation,) = self.annotations(task)
        results: list[dict[str, Any]] = annotation["result"]
        return results

    def boxes_of(self, results: Sequence[dict[str, Any]]) -> set[Box]:
        """The boxes among results, px, on the grid of `Box`."""
        width, height = SIZE
        return {
            (
                x * width / 20,
                y * height / 20,
                (x + w) * width / 20,
                (y + h) * height / 20,
            )
            for x, y, w, h in _boxes(results)
        }

    def assert_kept(
        self, editor: Drawing, task: int, *boxes: Box, email: str | None = None
    ) -> None:
        """Each box that was drawn, and nothing else, is in the page, in the draft, and in what is then submitted."""
        expect(editor.regions).to_have_count(len(boxes), timeout=1000 * CEILING)
        wait_for(
            lambda: _boxes(self.draft(task, email)) == _rounded(boxes),
            seconds=CEILING,
        )
        before = {annotation["id"] for annotation in self.annotations(task)}
        editor.submit()
        (annotation,) = [a for a in self.annotations(task) if a["id"] not in before]
        assert _boxes(annotation["result"]) == _rounded(boxes)

    def _context(self, email: str) -> BrowserContext:
        # High enough for the region list to show all its rows: those out of sight are not in the page.
        size: ViewportSize = {"width": 1440, "height": 1300}
        if email not in self._states:
            context = self.browser.new_context(viewport=size)
            sign_in(context.new_page(), self.server.url, email, self.server.password)
            self._states[email] = context.storage_state()
            context.close()
        return self.browser.new_context(viewport=size, storage_state=self._states[email])


def _boxes(results: Sequence[dict[str, Any]]) -> list[tuple[int, ...]]:
    """The boxes among results, in twentieths of the image, in order."""
    names = ("x", "y", "width", "height")
    values = [shape["value"] for shape in shapes_in(results).values()]
    return sorted(tuple(round(value.get(name, -100) / 5) for name in names) for value in values)


def _rounded(boxes: Sequence[Box]) -> list[tuple[int, ...]]:
    width, height = SIZE
    return sorted(
        (
            round(20 * x0 / width),
            round(20 * y0 / height),
            round(20 * (x1 - x0) / width),
            round(20 * (y1 - y0) / height),
        )
        for x0, y0, x1, y1 in boxes
    )


def shapes_in(results: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The shapes among results, by id."""
    return {item["id"]: item for item in results if is_shape(item)}


def accept_suggestions(page: Page) -> None:
    """Press the check mark at the bottom, once there is something to accept."""
    page.get_by_test_id("bottombar-accept-suggestions-button").click(timeout=1000 * CEILING)


def answered(page: Page) -> Any:
    """A block in which Label Studio answers an interactive call."""
    return page.expect_response(lambda r: "interactive-annotating" in r.url, timeout=1000 * CEILING)


def asked(page: Page) -> Any:
    """A block in which the page sends an interactive call."""
    return page.expect_request(lambda r: "interactive-annotating" in r.url, timeout=1000 * CEILING)


@contextmanager
def drafts_held_back(page: Page) -> Iterator[None]:
    """What the page saves of its work inside reaches Label Studio only afterwards."""
    held: list[Route] = []
    saving = re.compile(r"/api/(drafts/\d|tasks/\d+/drafts)")

    def hold(route: Route) -> None:
        if route.request.method == "GET":
            route.fallback()
        else:
            held.append(route)

    page.route(saving, hold)
    try:
        yield
    finally:
        for route in held:
            route.continue_()
        page.unroute(saving, hold)
