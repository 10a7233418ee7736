"""`regiontext prelabel --background` and `regiontext jobs`, against a backend that runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from backend.app import create_app
from backend.cli.app import app
from backend.settings import Settings
from tests.backend.jobs.fakes import (
    KEY,
    FakeLabelStudio,
    FakeModelServer,
    picture,
    serving,
    two_boxes,
)


def say(folder: Path, *words: str) -> str:
    found = CliRunner().invoke(app, [*words, "--data-dir", str(folder)], env={"COLUMNS": "120"})
    assert found.exit_code == 0, found.output
    return found.output


def test_start_list_pause_and_cancel(
    studio: FakeLabelStudio,
    model_server: FakeModelServer,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = studio.add_project()
    for number in range(30):
        studio.add_prediction(studio.add_task(project, picture(number)), two_boxes())
    model_server.delay_s = 0.1
    guarded = settings.model_copy(
        update={"basic_auth_user": "ls", "basic_auth_password": SecretStr("pw")}
    )
    folder = settings.data_dir
    with serving(create_app(guarded, processor=lambda *_: None)) as url:
        for name, value in {
            "PUBLIC_URL": url,
            "LABEL_STUDIO_URL": studio.url,
            "LABEL_STUDIO_API_KEY": KEY,
            "BASIC_AUTH_USER": "ls",
            "BASIC_AUTH_PASSWORD": "pw",
        }.items():
            monkeypatch.setenv(f"REGIONTEXT_{name}", value)
        assert "there are no jobs" in say(folder, "jobs")
        said = say(folder, "prelabel", "--project", str(project), "--background")
        id = said.split()[1]
        deadline = time.monotonic() + 120
        while "of 30" not in (listed := say(folder, "jobs")):
            assert time.monotonic() < deadline, listed
            time.sleep(0.1)
        assert id in listed and "running" in listed
        assert f"job {id} is paused" in say(folder, "jobs", "pause", id)
        assert "paused" in say(folder, "jobs")
        assert f"job {id} is queued" in say(folder, "jobs", "resume", id)
        assert f"job {id} is cancelled" in say(folder, "jobs", "cancel", id)
        wrong = CliRunner().invoke(app, ["jobs", "pause", "nix", "--data-dir", str(folder)])
        assert wrong.exit_code == 1 and "there is no job 'nix'" in wrong.output
    away = CliRunner().invoke(app, ["jobs", "--data-dir", str(folder)])
    assert away.exit_code == 1 and "does not answer" in away.output
