"""A running regiontext with the assistant in its page, a slow model behind it, and a page on an empty task."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from backend.store import OutcomeRow, open_store
from regiontext.questions.templates import RELATIONS
from tests.browser.drawing import Drawing
from tests.browser.editor import sign_in
from tests.browser.scenes import SIZE, SceneTask, add_task, scenes
from tests.browser.stack import Stack, running_stack
from tests.plugin.slow_model import SlowModel, running_model

CONFIG = """
<View style="display: flex; gap: 12px">
  <Relations><Relation value="left of"/><Relation value="above"/></Relations>
  <View style="flex: 1 1 auto; min-width: 0">
    <Image name="image" value="$image" zoom="true" zoomControl="true" rotateControl="true"/>
  </View>
  <View style="flex: 0 0 200px">
    <RectangleLabels name="box" toName="image" smart="true" canRotate="true">
      <Label value="Box"/><Label value="Crate" hotkey="8"/>
    </RectangleLabels>
    <EllipseLabels name="disc" toName="image"><Label value="Disc"/></EllipseLabels>
    <PolygonLabels name="corners" toName="image"><Label value="Corners"/></PolygonLabels>
    <BrushLabels name="paint" toName="image"><Label value="Paint"/></BrushLabels>
    <KeyPointLabels name="dot" toName="image" smart="true"><Label value="Dot"/></KeyPointLabels>
    <VectorLabels name="path" toName="image" closable="true"><Label value="Path"/></VectorLabels>
    <BitmaskLabels name="mask" toName="image"><Label value="Mask"/></BitmaskLabels>
    <TextArea name="caption" toName="image" perRegion="true" displayMode="region-list" editable="true"
              maxSubmissions="1" rows="2" placeholder="What is it?" ask="Describe the object {mark}."/>
    <View visibleWhen="region-selected">
      <Choices name="material" toName="image" perRegion="true" choice="single-radio">
        <Choice value="wood"/><Choice value="stone"/><Choice value="other"/>
      </Choices>
    </View>
  </View>
</View>
"""


@pytest.fixture(scope="session")
def model() -> Iterator[SlowModel]:
    with running_model() as running:
        yield running


@pytest.fixture(scope="session")
def stack(
    model: SlowModel, tmp_path_factory: pytest.TempPathFactory, label_studio_tables: Path
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("up") / "data"
    with running_stack(folder, "--model-url", model.url, database=label_studio_tables) as running:
        yield running


@pytest.fixture(scope="session")
def project(stack: Stack) -> int:
    """A project with every tool that draws on images."""
    with stack.api() as api:
        made = api.post("/api/projects/", json={"title": "every tool", "label_config": CONFIG})
        made.raise_for_status()
        return int(made.json()["id"])


@pytest.fixture
def page(
    browser: Browser, stack: Stack, model: SlowModel, request: pytest.FixtureRequest
) -> Iterator[Page]:
    """A signed-in page; what it showed at the end of a test is kept in test-artifacts/."""
    model.reset()
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    trouble: list[str] = []
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on(
        "console",
        lambda line: trouble.append(line.text) if "regiontext" in line.text else None,
    )
    sign_in(opened, stack.url, stack.email, stack.password)
    yield opened
    folder = Path("test-artifacts")
    folder.mkdir(exist_ok=True)
    opened.screenshot(path=folder / f"assistant-{request.node.name}.png")
    context.close()
    assert not trouble, "\n".join(trouble)


def scene_of(arm: str, seed: int) -> SceneTask:
    """A picture that falls into an arm."""
    (found,) = islice((scene for scene in scenes(seed) if scene.arm == arm), 1)
    return found


@dataclass
class Desk:
    """One task open in the editor, with what the tests read of it."""

    editor: Drawing
    task: int
    project: int
    stack: Stack

    @property
    def page(self) -> Page:
        return self.editor.page

    def box(self, x0: float = 60, y0: float = 60, x1: float = 200, y1: float = 180) -> None:
        """Draw a rectangle with the ordinary tool."""
        self.editor.choose("1")
        self.editor.stroke([(x0, y0), ((x0 + x1) / 2, (y0 + y1) / 2), (x1, y1)])

    def captions(self, *wanted: str, seconds: float = 30) -> None:
        """Wait until exactly these captions stand in the list of regions, in its order."""
        self.page.wait_for_function(
            "wanted => JSON.stringify([...document.querySelectorAll("
            "'[data-testid=textarea-region-item] :is(input, textarea)')].map(box => box.value)) === wanted",
            arg=_json(wanted),
            timeout=seconds * 1000,
        )

    def words_on_their_way(self, seconds: float = 30) -> None:
        """Wait until the first words of an answer stand where the field will be."""
        self.page.wait_for_function(
            "[...document.querySelectorAll('[data-testid=textarea-region-input]')]"
            ".some(box => box.dataset.regiontext !== undefined && box.placeholder.startsWith('a'))",
            timeout=seconds * 1000,
        )

    def empty(self, index: int) -> None:
        """Delete the caption of the region at `index` with the keyboard."""
        box = self.editor.captions.nth(index)
        box.click()
        for key in ("Control+a", "Delete", "Tab"):
            self.page.keyboard.press(key)
        expect(box).to_have_value("")
        self.editor._leave_inputs()

    def relabel_arrow(self, old: str, new: str) -> None:
        """In the list of relations, choose another label for the only one."""
        self.page.get_by_text("Relations", exact=True).first.click()
        self.page.locator(".lsf-relations__item").hover()
        self.page.get_by_label("Show Relation Labels").click()
        self.page.locator(".lsf-relation-meta button").click()
        for label in (old, new):
            self.page.get_by_role("option", name=label).click()
        self.page.keyboard.press("Escape")

    def remove_arrow(self) -> None:
        """Delete the only relation in their list."""
        self.page.get_by_text("Relations", exact=True).first.click()
        self.page.locator(".lsf-relations__item").hover()
        self.page.get_by_label("Delete Relation").click()
        expect(self.page.locator(".lsf-relations__item")).to_have_count(0)

    def submit(self) -> None:
        """Submit, and have what was submitted collected."""
        self.editor.submit()
        assert self.stack.run("collect", "--project", str(self.project))

    def stored(self) -> list[dict[str, object]]:
        """The results of the submitted annotations."""
        with self.stack.api() as api:
            answer = api.get(f"/api/tasks/{self.task}/annotations/")
            answer.raise_for_status()
            return [result for annotation in answer.json() for result in annotation["result"]]

    def ids(self) -> list[str]:
        """The submitted regions, in the order in which they were drawn."""
        return list(dict.fromkeys(str(r["id"]) for r in self.stored() if r["type"] != "relation"))

    def arrows(self) -> list[dict[str, object]]:
        """The submitted relations."""
        return [result for result in self.stored() if result["type"] == "relation"]

    def outcomes(self) -> dict[tuple[str, str], str]:
        """By region (or pair of them) and field, what the store says became of it."""
        store = open_store(f"sqlite:///{self.stack.data_dir / 'regiontext.db'}")
        with store.read() as session:
            rows = session.scalars(select(OutcomeRow).where(OutcomeRow.task == self.task)).all()
            return {(row.region, row.field): row.outcome for row in rows}

    def relation_outcomes(self) -> list[str]:
        """Of all pairs of regions."""
        return [outcome for (_, field), outcome in self.outcomes().items() if field == RELATIONS]


@pytest.fixture
def open_task(stack: Stack, project: int) -> Callable[..., Desk]:
    """`open_task(page, "assist")` opens a fresh task whose image is in that arm."""

    def start(page: Page, arm: str = "assist", *, project: int = project, name: str = "") -> Desk:
        seed = sum(map(ord, name or os.environ.get("PYTEST_CURRENT_TEST", ""))) + project
        with stack.api() as api:
            task = add_task(api, project, scene_of(arm, seed))
        editor = Drawing(page, stack.url, project)
        editor.open(task, SIZE)
        return Desk(editor, task, project, stack)

    return start


@pytest.fixture
def desk(page: Page, open_task: Callable[..., Desk]) -> Desk:
    """A fresh task in the assist arm."""
    return open_task(page)


def _json(texts: tuple[str, ...]) -> str:
    # As JSON.stringify writes it.
    return "[" + ",".join(f'"{text}"' for text in texts) + "]"
