"""The product in one test: draw, read the caption, correct it, teach, and see the new word come back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from itertools import islice

import httpx
import pytest
from playwright.sync_api import Page
from sqlalchemy import select

from backend.store import open_store
from backend.store.models import OutcomeRow
from tests.browser.editor import Editor
from tests.browser.scenes import SIZE, SceneTask, add_task, add_tasks, scenes
from tests.browser.stack import Stack
from tests.browser.teaching import shape, teach

pytestmark = [pytest.mark.browser, pytest.mark.label_studio, pytest.mark.model]

WORD = "marble"
LESSONS = 60
# Beside the regions drawn in the browser, so that luck with three pictures decides nothing.
EXAM = 12


@pytest.mark.timeout(600)
def test_a_corrected_word_is_learnt_and_comes_back(
    stack: Stack, page: Page, editor: Editor, picture: Callable[[Editor, str], None]
) -> None:
    lesson, *exam = _assisted(seed=11, count=4)

    with stack.api() as api:
        task = add_task(api, stack.project, lesson)
    before = _draw_first_object(editor, task, lesson)
    assert before and WORD not in before

    truth = lesson.objects[0].thing.caption
    assert WORD in truth
    editor.rewrite(0, truth)
    editor.submit()

    outcome = _wait_for_outcome(stack, task, "caption")
    assert outcome.outcome == "edited"
    assert (outcome.suggested, outcome.final) == ([before], [truth])

    with stack.api() as api:
        teach(api, stack, seed=12, count=LESSONS, material=WORD)
    assert re.search(r"\d", stack.run("collect", "--project", str(stack.project)))
    report = stack.run("finetune", "--project", str(stack.project), seconds=360)
    print(report)
    assert re.search(r"\bpromoted\b", report), report

    with stack.api() as api:
        tasks = [add_task(api, stack.project, scene) for scene in exam]
        version = _served_version(api, stack)
    captions = [
        _draw_first_object(editor, task, scene) for task, scene in zip(tasks, exam, strict=True)
    ]
    picture(editor, "learnt")
    print("captions after fine-tuning:", captions)
    bulk = _prelabelled(stack, EXAM)
    print("captions of pre-labelled pictures:", bulk)
    assert any(WORD in caption for caption in captions), captions
    said = sum(WORD in caption for caption in captions + bulk)
    assert said >= (len(captions) + EXAM) / 2, captions + bulk
    assert "@base+" not in version, version


def _assisted(seed: int, count: int) -> list[SceneTask]:
    """Scenes with the new material whose images are pre-filled, by their own hash."""
    wanted = (scene for scene in scenes(seed, {"material": WORD}) if scene.arm == "assist")
    return list(islice(wanted, count))


def _prelabelled(stack: Stack, count: int) -> list[str]:
    """Captions that `regiontext prelabel` gives the first objects of fresh pictures with the material."""
    exam = _assisted(seed=13, count=count)
    with stack.api() as api:
        tasks = add_tasks(api, stack.project, exam)
        for task, scene in zip(tasks, exam, strict=True):
            boxes = [shape(0, scene.objects[0])]
            api.post(
                "/api/predictions", json={"task": task, "result": boxes, "model_version": "boxes"}
            ).raise_for_status()
        stack.run("prelabel", "--project", str(stack.project))
        captions = []
        for task in tasks:
            predictions = api.get("/api/predictions", params={"task": task}).json()
            newest = max(predictions, key=lambda prediction: prediction["id"])
            texts = [
                item["value"]["text"] for item in newest["result"] if item["type"] == "textarea"
            ]
            captions.append(" ".join(texts[0]) if texts else "")
    return captions


def _draw_first_object(editor: Editor, task: int, scene: SceneTask) -> str:
    editor.open(task, SIZE)
    editor.auto_annotation()
    editor.smart_box(scene.objects[0].box)
    (caption,) = editor.wait_for_captions(1)
    return caption


def _wait_for_outcome(stack: Stack, task: int, field: str, seconds: float = 15) -> OutcomeRow:
    store = open_store(f"sqlite:///{stack.data_dir / 'regiontext.db'}")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with store.read() as session:
            rows = session.scalars(
                select(OutcomeRow).where(OutcomeRow.task == task, OutcomeRow.field == field)
            ).all()
        if rows:
            (row,) = rows
            return row
        time.sleep(0.2)
    raise AssertionError(f"no outcome of task {task} reached the store in {seconds} s")


def _served_version(api: httpx.Client, stack: Stack) -> str:
    """The model version that Label Studio itself knows the backend by."""
    (backend,) = api.get("/api/ml", params={"project": stack.project}).json()
    answer = api.get(f"/api/ml/{backend['id']}")
    answer.raise_for_status()
    return str(answer.json()["model_version"])
