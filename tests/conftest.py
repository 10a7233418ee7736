"""Fixtures that several test packages share, and the order of the files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.label_studio_server import LabelStudioServer, empty_database, running_label_studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FIXTURES = Path(__file__).parent / "fixtures"
LONG = ("browser", "label_studio", "fuzz", "model")
"""Marks of what takes long, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, each of them whole, and the rest as it was.

    Dealt out in this order (`--no-loadscope-reorder`), they are not what one worker does last while others wait.
    """
    places: dict[Path, int] = {}
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        place = next((at for at, name in enumerate(LONG) if name in marks), len(LONG))
        places[item.path] = min(place, places.get(item.path, place))
    items.sort(key=lambda item: places[item.path])


@pytest.fixture(scope="session")
def payload() -> Callable[[str], Any]:
    """`payload("request_setup")`: a recorded Label Studio 1.23.2 payload, by its file name."""

    def load(name: str) -> Any:
        return json.loads((FIXTURES / "label_studio" / f"{name}.json").read_text())

    return load


@pytest.fixture(scope="session")
def label_studio_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database that a Label Studio can begin with; all processes of a run share it."""
    folder = tmp_path_factory.getbasetemp()
    shared = "PYTEST_XDIST_WORKER" in os.environ
    return empty_database(folder.parent if shared else folder)


@pytest.fixture(scope="session")
def label_studio(
    tmp_path_factory: pytest.TempPathFactory, label_studio_tables: Path
) -> Iterator[LabelStudioServer]:
    """A real Label Studio, shared by the tests of the session; each makes its own project."""
    folder = tmp_path_factory.mktemp("label-studio")
    with running_label_studio(folder, database=label_studio_tables) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each file: while Playwright runs, nothing else in the process can run an event loop of its own."""
    from tests.browser.chromium import running_chromium

    with running_chromium() as running:
        yield running
