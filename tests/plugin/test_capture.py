"""The README's moving picture: a box, an ellipse, what is said of them, and the arrow between them.

Made by every run, with the words of the tests' model; `make screenshots` makes it with the bundled model's and keeps it
in docs/images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.browser.drawing import Drawing
from tests.browser.editor import sign_in
from tests.browser.scenes import SIZE, SceneTask, add_task, scenes
from tests.browser.stack import Stack, running_stack
from tests.plugin.capture import Film
from tests.plugin.slow_model import SlowModel

pytestmark = [pytest.mark.browser, pytest.mark.label_studio, pytest.mark.timeout(600)]

KEPT = os.environ.get("REGIONTEXT_SCREENSHOTS", "")


@pytest.fixture
def shown(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """With the bundled model if the pictures are to be kept."""
    if KEPT:
        with running_stack(tmp_path / "data") as running:
            yield running
    else:
        model: SlowModel = request.getfixturevalue("model")
        model.reset()
        model.relation, model.word_s = "left of", 0.3
        yield request.getfixturevalue("stack")


def test_the_assistant_at_work(shown: Stack, browser: Browser, tmp_path: Path) -> None:
    folder = Path(KEPT) if KEPT else tmp_path
    scene = next(scene for scene in scenes(seed=1) if is_clear(scene))
    left, right = sorted(scene.objects[:2], key=lambda seen: seen.box[0])
    with shown.api() as api:
        task = add_task(api, shown.project, scene)
    context = browser.new_context(viewport={"width": 1440, "height": 760})
    page = context.new_page()
    sign_in(page, shown.url, shown.email, shown.password)
    editor = Drawing(page, shown.url, shown.project)
    editor.open(task, SIZE)
    film = Film(page)

    def until_captions(count: int) -> None:
        while editor.captions.count() < count:
            film.shoot(120)
        film.shoot(1200)

    editor.choose("1")
    film.drag([editor._screen(*point) for point in along(left.box)])
    until_captions(1)
    editor.choose("2")
    x0, y0, x1, y1 = right.box
    film.drag([editor._screen(*point) for point in along(((x0 + x1) / 2, (y0 + y1) / 2, x1, y1))])
    until_captions(2)
    page.keyboard.press("u")
    editor.click((left.box[0] + left.box[2]) / 2, (left.box[1] + left.box[3]) / 2)
    expect(page.locator(".regiontext-card .regiontext-foot")).to_be_visible()
    film.shoot(1800)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "assistant.png").write_bytes(film.still())
    page.keyboard.press("Shift+L")
    expect(page.locator(".regiontext-relation").first).to_contain_text(" of ")
    film.shoot(1500)
    page.keyboard.press("Shift+L")
    expect(page.locator(".regiontext-relation[data-taken=true]")).to_have_count(1)
    film.shoot(2500)
    context.close()
    film.write(folder / "assistant.webp")
    with Image.open(folder / "assistant.webp") as moving:
        assert moving.is_animated and moving.n_frames >= 12
    assert (folder / "assistant.webp").stat().st_size < 1_500_000


def is_clear(scene: SceneTask) -> bool:
    """Whether suggestions are made, and the first two objects are neither small nor far from being side by side."""
    if scene.arm != "assist" or len(scene.objects) < 2:
        return False
    (a, b), (c, d) = ((seen.box[:2], seen.box[2:]) for seen in scene.objects[:2])
    apart = b[0] < c[0] or d[0] < a[0]
    inside = all(corner[0] > 20 and corner[1] > 20 for corner in (a, c)) and all(
        corner[0] < SIZE[0] - 20 and corner[1] < SIZE[1] - 20 for corner in (b, d)
    )
    wide = all(high[0] - low[0] > 110 for low, high in ((a, b), (c, d)))
    return apart and inside and wide


def along(box: tuple[float, float, float, float]) -> list[tuple[float, float]]:
    """Points on the way from one corner of a box to the other."""
    x0, y0, x1, y1 = box
    return [(x0 + part * (x1 - x0) / 8, y0 + part * (y1 - y0) / 8) for part in range(9)]
