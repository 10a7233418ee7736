"""The ways a caption arrives in the real editor, and that nothing drawn is ever lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest
from playwright.sync_api import expect

from tests.browser.editor import Editor
from tests.browser.scenes import SIZE, SceneTask, add_task, scenes
from tests.browser.stack import Stack
from tests.browser.teaching import shape

pytestmark = [pytest.mark.browser, pytest.mark.label_studio, pytest.mark.model]

# Label Studio saves drafts at most every five seconds, and a click on a region is understood from the draft.
DRAFT_SECONDS = 7
BOX, ELLIPSE, POLYGON, BRUSH, POINT = "12345"


@pytest.fixture
def scene(stack: Stack, request: pytest.FixtureRequest) -> tuple[int, SceneTask]:
    """A fresh task whose image is pre-filled, and what it shows."""
    seed = sum(map(ord, request.node.name))
    (assisted,) = islice((s for s in scenes(seed) if s.arm == "assist"), 1)
    with stack.api() as api:
        return add_task(api, stack.project, assisted), assisted


def _centre(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _inset(box: tuple[float, float, float, float]) -> list[tuple[float, float]]:
    """A diamond inside the box, so that it is no rectangle and its centre is inside."""
    (x, y), (x0, y0, x1, y1) = _centre(box), box
    return [(x, y0), (x1, y), (x, y1), (x0, y)]


def _draw(editor: Editor, kind: str, box: tuple[float, float, float, float]) -> None:
    editor.label(kind)
    if kind == POLYGON:
        editor.polygon(_inset(box))
    elif kind == ELLIPSE:
        editor.drag((*_centre(box), box[2], box[3]))
    else:
        x, y = _centre(box)
        editor.drag((x - 8, y - 8, x + 8, y + 8))


@pytest.mark.parametrize("kind", [ELLIPSE, POLYGON, BRUSH], ids=["ellipse", "polygon", "brush"])
def test_control_click_fills_an_existing_region(
    kind: str,
    scene: tuple[int, SceneTask],
    editor: Editor,
    picture: Callable[[Editor, str], None],
) -> None:
    task, shown = scene
    box = shown.objects[-1].box
    editor.open(task, SIZE)
    editor.auto_annotation()
    _draw(editor, kind, box)
    expect(editor.regions).to_have_count(1)
    assert editor.caption_texts() == []
    editor.page.wait_for_timeout(1000 * DRAFT_SECONDS)
    editor.label(POINT)
    editor.smart_tool("key-point-tool")
    editor.click(*_centre(box), control=True)
    (caption,) = editor.wait_for_captions(1)
    assert caption
    # The point was a question, not a region: only the region that was asked about remains.
    assert editor.regions.count() == 1
    if kind == POLYGON:
        picture(editor, "ctrl-click")


def test_a_choice_is_filled_with_the_caption(
    scene: tuple[int, SceneTask], stack: Stack, editor: Editor
) -> None:
    task, shown = scene
    editor.open(task, SIZE)
    editor.auto_annotation()
    editor.smart_box(shown.objects[-1].box)
    editor.wait_for_captions(1)
    editor.submit()
    with stack.api() as api:
        (annotation,) = api.get(f"/api/tasks/{task}/annotations").json()
    by_field = {result["from_name"]: result for result in annotation["result"]}
    assert set(by_field) == {"rectangle", "caption", "material"}
    assert len({result["id"] for result in annotation["result"]}) == 1
    assert len(by_field["material"]["value"]["choices"]) == 1


def test_two_boxes_drawn_at_once_both_survive(scene: tuple[int, SceneTask], editor: Editor) -> None:
    task, shown = scene
    first, second = (thing.box for thing in shown.objects[:2])
    editor.open(task, SIZE)
    editor.auto_annotation()
    editor.smart_box(first)
    editor.smart_box(second)
    captions = editor.wait_for_captions(2)
    assert all(captions)
    assert editor.regions.count() == 2


def test_a_caption_typed_by_hand_is_never_replaced(
    scene: tuple[int, SceneTask], editor: Editor
) -> None:
    task, shown = scene
    first, second = (thing.box for thing in shown.objects[:2])
    editor.open(task, SIZE)
    editor.auto_annotation()
    editor.smart_box(first)
    editor.wait_for_captions(1)
    # At once: Label Studio then asks the backend again, with the typed text in the request.
    editor.rewrite(0, "what I say it is")
    editor.smart_box(second)
    captions = editor.wait_for_captions(2)
    assert "what I say it is" in captions


def test_opening_a_prelabelled_task_shows_its_captions(
    scene: tuple[int, SceneTask],
    stack: Stack,
    editor: Editor,
) -> None:
    task, shown = scene
    shapes = [shape(index, thing) for index, thing in enumerate(shown.objects)]
    with stack.api() as api:
        api.post(
            "/api/predictions", json={"task": task, "result": shapes, "model_version": "boxes"}
        ).raise_for_status()
        stack.run("prelabel", "--project", str(stack.project))
        again = stack.run("prelabel", "--project", str(stack.project))
        predictions = api.get("/api/predictions", params={"task": task}).json()
    assert len(predictions) == 2, "the imported boxes, and ours once although it ran twice"
    assert again
    editor.open(task, SIZE)
    captions = editor.wait_for_captions(len(shapes))
    assert all(captions)
