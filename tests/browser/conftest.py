"""A running regiontext and a headless Chromium, shared by the browser tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.backend.site import Site, running_site
from tests.browser.editor import Editor, sign_in
from tests.browser.stack import Stack, running_stack
from tests.browser.workplace import XML, MoodyModel, Workplace
from tests.label_studio_server import LabelStudioServer


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, label_studio_tables: Path) -> Iterator[Stack]:
    # These tests are about the ways that every Label Studio has; tests/plugin is about the assistant in the page.
    folder = tmp_path_factory.mktemp("up") / "data"
    with running_stack(folder, "--no-assistant", database=label_studio_tables) as running:
        yield running


@pytest.fixture
def page(browser: Browser, stack: Stack, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A signed-in page; what it showed at the end of a test is kept in test-artifacts/."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    sign_in(opened, stack.url, stack.email, stack.password)
    yield opened
    folder = Path("test-artifacts")
    folder.mkdir(exist_ok=True)
    opened.screenshot(path=folder / f"{request.node.name}.png")
    context.close()


@pytest.fixture
def editor(page: Page, stack: Stack) -> Editor:
    return Editor(page, stack.url, stack.project)


@pytest.fixture
def picture() -> Callable[[Editor, str], None]:
    """`picture(editor, "learnt")` keeps a screenshot for the docs, where REGIONTEXT_SCREENSHOTS says."""

    def keep(editor: Editor, name: str) -> None:
        if folder := os.environ.get("REGIONTEXT_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            editor.screenshot(str(Path(folder) / f"{name}.png"))

    return keep


@pytest.fixture(scope="session")
def moody() -> MoodyModel:
    return MoodyModel()


@pytest.fixture(scope="session")
def moody_site(
    label_studio: LabelStudioServer, moody: MoodyModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A backend with time enough for everything that is drawn while its model is held back."""
    folder = tmp_path_factory.mktemp("backend")
    with running_site(label_studio, XML, folder, moody, budget_s=60.0) as running:
        yield running


@pytest.fixture(scope="module")
def project_room(browser: Browser, label_studio: LabelStudioServer, moody_site: Site) -> Workplace:
    """The workplace for what outlives a test."""
    return Workplace(browser, label_studio, moody_site)


@pytest.fixture
def workplace(project_room: Workplace, moody: MoodyModel) -> Iterator[Workplace]:
    """A project with every shape and a model in its usual mood; no script of a page may fail."""
    moody.well_again()
    yield project_room
    moody.well_again()
    failures = project_room.close()
    assert failures == []


@pytest.fixture
def task(moody_site: Site) -> int:
    """A fresh task of the workplace."""
    (number,) = moody_site.upload()
    return number
