"""Draws every scene of `tests.browser.shapes` in a real Label Studio and keeps what it sent and what it showed.

`python -m tests.browser.record_shapes OUT/ [SCENE …]` writes, for each scene, NAME.json (the results as Label Studio
stored them, with the mouse's points), NAME-I.png or .jpg (the I-th picture as uploaded) and NAME-I-seen.png (8-bit:
pixel value N belongs to the scene's N-th region, 0 to none). tests/fixtures/editor holds such a recording.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from playwright.sync_api import Browser

from tests.browser.chromium import running_chromium
from tests.browser.drawing import Drawing, inked
from tests.browser.editor import sign_in
from tests.browser.shapes import SCENES, Scene
from tests.label_studio_server import LabelStudioServer, running_label_studio

__all__ = ["Recording", "record", "write"]

_AUTOSAVE_SECONDS = 7
_NEAR = 8  # px


@dataclass(frozen=True)
class Recording:
    """What came of a scene: one stored result and one seen mask bool[H, W] per gesture, in their order.

    What is seen is the submitted task opened again; where that would turn the view back, it is what was seen while
    drawing.
    """

    scene: Scene
    results: tuple[dict[str, Any], ...]
    drafts: tuple[dict[str, Any], ...]
    seen: tuple[NDArray[np.bool_], ...]


def record(browser: Browser, server: LabelStudioServer, scene: Scene) -> Recording:
    """Draw a scene in a new project and submit it; AssertionError where a gesture left no region."""
    # The screen's pixels are to be at least twice as fine as the image's.
    fine = 2 if max(picture.size[0] for picture in scene.pictures) > 400 else 1
    context = browser.new_context(
        viewport={"width": 1440, "height": 1000}, device_scale_factor=fine
    )
    try:
        with httpx.Client(base_url=server.url, headers=server.headers, timeout=60) as api:
            project, task = _add_task(api, scene)
            page = context.new_page()
            sign_in(page, server.url, server.email, server.password)
            editor = Drawing(page, server.url, project)
            editor.open(task, scene.pictures[0].size)
            blank = editor.look()
            seen = _draw(editor, scene)
            drafts: list[dict[str, Any]] = []
            if scene.draft:
                page.wait_for_timeout(_AUTOSAVE_SECONDS * 1000)
                drafts = _ok(api.get(f"/api/tasks/{task}/drafts"))[-1]["result"]
            editor.submit()
            results = _ok(api.get(f"/api/tasks/{task}"))["annotations"][-1]["result"]
            if not scene.quarters and len(scene.pictures) == 1:
                editor.open(task, scene.pictures[0].size)
                seen = _reopened(blank, editor.look(), seen)
    finally:
        context.close()
    kinds = [result["type"].removesuffix("labels") for result in results]
    assert kinds == [gesture.shape for gesture in scene.gestures], f"drew {kinds}"
    return Recording(scene, tuple(results), tuple(drafts), tuple(seen))


def _draw(editor: Drawing, scene: Scene) -> list[NDArray[np.bool_]]:
    """Make all gestures; what each left to be seen."""
    for _ in range(scene.quarters):
        editor.turn_right()
    seen, image = [], 0
    for gesture in scene.gestures:
        if gesture.image != image:
            image = gesture.image
            editor.next_image(scene.pictures[image].size)
        before = editor.look()
        gesture.draw(editor)
        seen.append(inked(before, editor.look()))
    return seen


def _reopened(
    blank: NDArray[np.float64], filled: NDArray[np.float64], drawn: Sequence[NDArray[np.bool_]]
) -> list[NDArray[np.bool_]]:
    """The masks of all regions in one look, each in the neighbourhood of what was seen of it before."""
    seen = []
    for mask in drawn:
        grown = Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(2 * _NEAR + 1))
        near = (np.asarray(grown) > 0) & (mask | ~np.any(drawn, axis=0))
        seen.append(inked(blank, np.where(near, filled, blank)))
    return seen


def write(recording: Recording, name: str, folder: Path) -> None:
    """Write a recording's files into a folder."""
    scene = recording.scene
    for index, picture in enumerate(scene.pictures):
        (folder / f"{name}-{index}{picture.suffix}").write_bytes(picture.encoded())
        map = np.zeros(picture.size[::-1], dtype=np.uint8)
        for number, gesture in enumerate(scene.gestures, 1):
            if gesture.image == index:
                map[recording.seen[number - 1]] = number
        Image.fromarray(map).save(folder / f"{name}-{index}-seen.png", optimize=True)
    note = {
        "pictures": [
            {
                "file": f"{name}-{index}{picture.suffix}",
                "size": picture.size,
                "orientation": picture.orientation,
            }
            for index, picture in enumerate(scene.pictures)
        ],
        "view_turned": scene.quarters * 90,
        "regions": [
            {
                "gesture": gesture.name,
                "mouse": gesture.points,
                "image": gesture.image,
                "result": result,
            }
            | ({"draft": recording.drafts[index]} if recording.drafts else {})
            for index, (gesture, result) in enumerate(
                zip(scene.gestures, recording.results, strict=True)
            )
        ],
    }
    text = json.dumps(note, separators=(",", ":"), ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n")


def _add_task(api: httpx.Client, scene: Scene) -> tuple[int, int]:
    """A new project with the scene's pictures as its only task: the ids of both."""
    answer = api.post("/api/projects", json={"title": "shapes", "label_config": scene.config})
    project = _ok(answer)["id"]
    urls = []
    for index, picture in enumerate(scene.pictures):
        file = {"file": (f"picture-{index}{picture.suffix}", picture.encoded())}
        kept = api.post(f"/api/projects/{project}/import?commit_to_project=false", files=file)
        upload = _ok(kept)["file_upload_ids"][0]
        urls.append("/data/" + _ok(api.get(f"/api/import/file-upload/{upload}"))["file"])
    data = {"images": urls} if "$images" in scene.config else {"image": urls[0]}
    _ok(api.post(f"/api/projects/{project}/import", json=[data]))
    (task,) = _ok(api.get("/api/tasks", params={"project": project}))["tasks"]
    return project, task["id"]


def _ok(answer: httpx.Response) -> Any:
    assert answer.is_success, f"{answer.request.url.path}: {answer.status_code} {answer.text[:500]}"
    return answer.json()


def main(arguments: Sequence[str]) -> int:
    """Record the scenes named (all of them if none is) into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(SCENES))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        running_label_studio(Path(data)) as server,
        running_chromium() as browser,
    ):
        for name in options.scenes or SCENES:
            write(record(browser, server, SCENES[name]), name, options.out)
            print(name, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
