"""Pointing at a region of the second image of a task, while Label Studio knows only half of it: in the real editor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import expect

from backend import interactive
from backend.up.demo import template
from tests.backend.site import Site, running_site
from tests.backend.waiting import wait_for
from tests.browser.drawing import Drawing
from tests.browser.street import SIZE
from tests.browser.test_templates import add_task
from tests.browser.workplace import (
    CEILING,
    MoodyModel,
    Workplace,
    accept_suggestions,
    answered,
    drafts_held_back,
    shapes_in,
)
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.browser, pytest.mark.label_studio]

POLYGON, POINT = "2", "3"
CORNERS = [(200, 150), (400, 150), (400, 350), (200, 350)]
# Outside of what the first two corners span.
INSIDE = (300, 300)


@pytest.fixture(scope="module")
def site(
    label_studio: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder, xml = tmp_path_factory.mktemp("backend"), template("multi_image")
    with running_site(label_studio, xml, folder, MoodyModel(), budget_s=60.0) as running:
        yield running


@pytest.mark.parametrize("accept", [True, False], ids=["auto-accept", "by hand"])
def test_a_polygon_that_was_saved_half_drawn_is_described_whole(
    accept: bool, site: Site, project_room: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The click comes before the next draft does, and must not become a mask beside the polygon."""
    asked: list[Any] = []

    def interact(assistant: Any, ledger: Any, call: Any) -> Any:
        asked.append(call)
        return interactive.interact(assistant, ledger, call)

    monkeypatch.setattr("backend.protocol.interact", interact)
    place = Workplace(project_room.browser, project_room.server, site)
    task = add_task(site)
    editor = Drawing(place.page(), place.server.url, site.project)
    editor.open(task, SIZE)
    editor.auto_annotation(accept=accept)
    editor.next_image(SIZE)
    editor.choose(POLYGON)
    editor.taps(CORNERS[:2])
    wait_for(lambda: _open_polygons(place, task) == [1], seconds=CEILING)
    with ExitStack() as held:
        held.enter_context(drafts_held_back(editor.page))
        editor.taps([*CORNERS[2:], CORNERS[0]])
        editor.label(POINT)
        editor.smart_tool("key-point-tool")
        with answered(editor.page):
            editor.click(*INSIDE, control=True)
            wait_for(lambda: bool(asked), seconds=CEILING)
            held.close()
    if not accept:
        accept_suggestions(editor.page)
    editor.wait_for_captions(1, CEILING)
    expect(editor.regions).to_have_count(1)
    editor.submit()
    (shape,) = shapes_in(place.submitted(task)).values()
    assert (shape["type"], shape["item_index"]) == ("polygonlabels", 1)
    assert shape["value"]["closed"] and len(shape["value"]["points"]) == len(CORNERS)
    assert place.close() == []


def _open_polygons(place: Workplace, task: int) -> list[int]:
    """Of the polygons in the draft that are not closed, which image they are on."""
    shapes = shapes_in(place.draft(task)).values()
    return [shape["item_index"] for shape in shapes if shape["value"].get("closed") is False]
