from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.settings import Settings
from backend.store import Store, open_store
from tests.backend.jobs.fakes import KEY, FakeLabelStudio, FakeModelServer, picture, serving


@pytest.fixture
def studio() -> Iterator[FakeLabelStudio]:
    fake = FakeLabelStudio()
    with serving(fake.app()) as url:
        fake.url = url
        yield fake


@pytest.fixture
def model_server() -> Iterator[FakeModelServer]:
    fake = FakeModelServer()
    with serving(fake.app()) as url:
        fake.url = f"{url}/v1"
        yield fake


@pytest.fixture
def settings(
    tmp_path: Path, database_url: str, studio: FakeLabelStudio, model_server: FakeModelServer
) -> Settings:
    return Settings(
        label_studio_url=studio.url,
        label_studio_api_key=KEY,
        model_url=model_server.url,
        data_dir=tmp_path / "regiontext-data",
        database_url=database_url,
        holdout=0,
        control=0,
        _env_file=None,
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = open_store(settings.database_url)
    yield opened
    opened.close()


@pytest.fixture
def task(studio: FakeLabelStudio) -> int:
    project = studio.add_project()
    id = studio.add_task(project, b"")
    studio.uploads[f"{id}.png"] = picture(id)
    return id
