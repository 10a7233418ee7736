"""The command line: help for everything, errors in one line, settings from where they are expected."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from backend.cli import app
from backend.cli.running import progress_bar
from backend.errors import SettingsError
from backend.jobs.progress import Progress
from backend.up.credentials import Connection, Credentials, save
from backend.up.settings import find_project, find_settings, keep_credentials, read_settings
from model_server.training.finetune_settings import Settings as TrainerSettings

COMMANDS = (
    "up",
    "serve",
    "connect",
    "status",
    "doctor",
    "prelabel",
    "collect",
    "export",
    "finetune",
    "evaluate",
    "outcomes",
)  # fmt: skip


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [n for n in os.environ if n.startswith(("REGIONTEXT_", "LABEL_STUDIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    os.environ.pop("REGIONTEXT_DEBUG", None)


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})


def _command(name: str) -> Any:
    group: Any = typer.main.get_command(app)
    return group.commands[name]


def _kept(folder: Path) -> Credentials:
    credentials = Credentials.new().with_connection(
        Connection("embedded", "http://127.0.0.1:8181", "kept-key", 4, True,
                   "http://127.0.0.1:9191", "http://127.0.0.1:9292/v1")
    )  # fmt: skip
    save(credentials, folder)
    return credentials


def test_the_version_is_one_line() -> None:
    result = _run("--version")
    assert result.exit_code == 0
    assert re.fullmatch(r"regiontext \d+\.\d+\.\d+\S*\n", result.output)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_every_option_has_help(command: str) -> None:
    result = _run(command, "--help")
    assert result.exit_code == 0
    assert "--data-dir" in result.output
    for parameter in _command(command).params:
        assert getattr(parameter, "help", None), f"{command} {parameter.name} has no help"


def test_all_commands_are_listed() -> None:
    result = _run("--help")
    assert all(re.search(rf"^│ {name} ", result.output, re.M) for name in COMMANDS)


def test_the_help_of_finetune_tells_the_trainers_defaults() -> None:
    parameters = {p.name: p for p in _command("finetune").params}
    for name, default in asdict(TrainerSettings()).items():
        if name in ("batch_size", "rank", "replay", "dpo"):
            assert f"by default {default:g}" in parameters[name].help, name


def test_outcomes_are_of_all_projects_by_default() -> None:
    parameters = {p.name: p for p in _command("outcomes").params}
    assert parameters["project"].help.endswith("by default all.")


@pytest.mark.parametrize("command", [["prelabel"], ["collect"], ["connect"]])
def test_an_expected_error_is_one_line_without_a_trace(command: list[str]) -> None:
    result = _run(*command)
    assert result.exit_code == 1
    assert result.output.startswith("error: which project?")
    assert "--project N" in result.output
    assert "Traceback" not in result.output and result.output.count("\n") == 1


def test_debug_shows_the_trace() -> None:
    result = _run("--debug", "collect")
    assert isinstance(result.exception, SettingsError)


def test_a_setting_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGIONTEXT_HOLDOUT", "5")
    result = _run("collect", "-p", "1")
    assert result.exit_code == 1
    assert result.output.startswith("error: holdout:") and result.output.count("\n") == 1


@pytest.mark.parametrize("option", ["--label-studio-url", "--model-url", "--backend-url"])
def test_an_address_without_a_scheme_is_refused_by_its_option(option: str) -> None:
    result = _run("up", option, "localhost:8080")
    assert result.exit_code == 2
    assert option in result.output and "http://" in result.output


def test_an_existing_label_studio_needs_a_key() -> None:
    result = _run("up", "--label-studio-url", "http://127.0.0.1:1", "--model-url", "http://m/v1")
    assert result.exit_code == 1
    assert "--api-key" in result.output and result.output.count("\n") == 1


def test_what_up_kept_is_used(tmp_path: Path) -> None:
    kept = _kept(tmp_path)
    settings = find_settings(tmp_path)
    assert settings.label_studio_url == "http://127.0.0.1:8181"
    assert settings.label_studio_api_key is not None
    assert settings.label_studio_api_key.get_secret_value() == "kept-key"
    assert settings.model_url == "http://127.0.0.1:9292/v1"
    assert settings.reachable_url == "http://127.0.0.1:9191"
    assert settings.database_url.endswith(f"{tmp_path.name}/regiontext.db")
    assert settings.webhook_secret is not None
    assert settings.webhook_secret.get_secret_value() == kept.webhook_secret
    assert find_project(None, tmp_path) == 4 and find_project(9, tmp_path) == 9


def test_options_win_over_the_environment_and_it_over_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kept(tmp_path)
    monkeypatch.setenv("REGIONTEXT_LABEL_STUDIO_URL", "http://environment:1")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "other-name")
    (tmp_path / ".env").write_text("REGIONTEXT_MODEL_URL=http://dotenv:1/v1\n")
    settings = find_settings(tmp_path)
    assert settings.label_studio_url == "http://environment:1"
    assert settings.label_studio_api_key is not None
    assert settings.label_studio_api_key.get_secret_value() == "other-name"
    assert settings.model_url == "http://dotenv:1/v1"
    given = find_settings(tmp_path, label_studio_url="http://option:1", port=None)
    assert given.label_studio_url == "http://option:1" and given.port == 9090


def test_an_empty_secret_of_the_environment_counts_as_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = _kept(tmp_path)
    monkeypatch.setenv("REGIONTEXT_WEBHOOK_SECRET", "")
    settings = find_settings(tmp_path)
    assert settings.webhook_secret is not None
    assert settings.webhook_secret.get_secret_value() == kept.webhook_secret


def test_serve_and_connect_agree_on_a_secret_without_being_told(tmp_path: Path) -> None:
    first = keep_credentials(tmp_path / "new")
    assert keep_credentials(tmp_path / "new") == first
    settings = find_settings(tmp_path / "new")
    assert settings.webhook_secret is not None and settings.basic_auth_password is not None
    assert settings.webhook_secret.get_secret_value() == first.webhook_secret


def test_a_failed_connect_leaves_no_file(tmp_path: Path) -> None:
    result = _run("connect", "--url", "http://127.0.0.1:1", "--api-key", "x", "-p", "1")
    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_both_ways_to_choose_projects_at_once_are_refused(tmp_path: Path) -> None:
    result = _run("export", "out", "--project", "1", "--all-projects")
    assert result.exit_code == 2


def test_problems_of_single_items_are_printed_while_the_job_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_bar("collect") as notify:
        notify(Progress(0, 2, "reading"))
        notify(Progress(1, 2, "reading", problem="annotation 7: no shapes"))
        notify(Progress(2, 2, "reading"))
    printed = capsys.readouterr().err
    assert printed.count("reading") == 1 and "annotation 7: no shapes" in printed


def test_settings_errors_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGIONTEXT_PORT", "abc")
    monkeypatch.setenv("REGIONTEXT_MODEL_URL", "nowhere")
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert "port" in str(caught.value) and "model_url" in str(caught.value).lower()
    assert "\n" not in str(caught.value)
