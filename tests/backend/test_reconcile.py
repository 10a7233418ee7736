"""What webhooks missed is found by asking, for every project the store knows, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.errors import LabelStudioError
from backend.jobs.collect import Collected
from backend.reconcile import known_projects, reconcile
from backend.settings import Settings
from backend.store import AnnotationRow, ImageRow, Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'x.db'}")
    with opened.begin() as session:
        session.add(AnnotationRow(id=1, project=7, task=1, result=[], source="webhook"))
        for number, project in enumerate((3, 3, 9, None)):
            session.add(
                ImageRow(hash=f"i{number}", project=project, width=1, height=1, arm="assist")
            )
    yield opened
    opened.close()


def run(store: Store, seconds: float, collect: Any, **given: Any) -> None:
    settings = Settings(_env_file=None, **given)

    async def work() -> None:
        task = asyncio.create_task(reconcile(settings, store, collect))
        await asyncio.wait([task], timeout=seconds)
        if task.done():
            task.result()
        task.cancel()

    asyncio.run(work())


def test_every_known_project_is_asked_about_again_and_again(store: Store) -> None:
    assert known_projects(store) == [3, 7, 9]
    asked: list[int] = []

    async def collect(project: int) -> Collected:
        asked.append(project)
        return Collected(project)

    run(store, 1.0, collect, collect_every_s=0.05, collect_first_s=0)
    assert asked[:6] == [3, 7, 9, 3, 7, 9]


@pytest.mark.parametrize("fault", [LabelStudioError("away"), KeyError("odd")])
def test_one_that_fails_does_not_stop_the_others(store: Store, fault: Exception) -> None:
    asked: list[int] = []

    async def collect(project: int) -> Collected:
        asked.append(project)
        if project == 3:
            raise fault
        return Collected(project)

    run(store, 1.0, collect, collect_every_s=0.05, collect_first_s=0)
    assert asked[:4] == [3, 7, 9, 3]


def test_it_can_be_switched_off(store: Store) -> None:
    async def collect(project: int) -> Collected:
        raise AssertionError

    run(store, 0.3, collect, collect_every_s=0, collect_first_s=0)
