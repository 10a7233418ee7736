"""What `regiontext up` says to do first is what its Label Studio can do."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from backend.up.credentials import Account, Connection, Credentials
from backend.up.finish import show_ready
from backend.up.options import EMBEDDED, UpOptions

SMART_TOOLS = "Auto-Annotation"
CARD = "Shift+A"


def said(options: UpOptions, *, shown: bool = False) -> str:
    account = replace(Account.new(), password="the-password", shown=shown)
    connection = Connection(options.server, "http://127.0.0.1:8080", "key", 1)
    credentials = replace(Credentials.new(), account=account, connection=connection)
    out = io.StringIO()
    show_ready(options, credentials, Console(file=out, width=200))
    return out.getvalue()


def test_with_the_assistant_nobody_is_sent_to_the_smart_tools(tmp_path: Path) -> None:
    told = said(UpOptions(tmp_path))
    assert "press 1 and drag" in told and CARD in told and "Shift+L" in told
    assert SMART_TOOLS not in told and "pink" not in told


@pytest.mark.parametrize(
    "given", [{"assistant": False}, {"label_studio_url": "http://labels.test"}]
)
def test_without_it_the_smart_tools_are_shown(given: dict[str, object], tmp_path: Path) -> None:
    told = said(replace(UpOptions(tmp_path), **given))  # type: ignore[arg-type]
    assert SMART_TOOLS in told and "pink tool" in told and CARD not in told


def test_the_steps_are_numbered_and_the_password_is_shown_once(tmp_path: Path) -> None:
    assert UpOptions(tmp_path).server == EMBEDDED
    first, later = said(UpOptions(tmp_path)), said(UpOptions(tmp_path), shown=True)
    assert " 1. " in first and " 5. " in first and " 6. " not in first
    assert "the-password" in first and "the-password" not in later


def test_who_has_not_activated_the_environment_is_told_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / ".venv" / "bin" / "activate"
    script.parent.mkdir(parents=True)
    script.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.prefix", str(tmp_path / ".venv"))
    monkeypatch.setenv("PATH", "")
    assert "source .venv/bin/activate" in said(UpOptions(tmp_path))
    command = script.with_name("regiontext")
    command.write_text("")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent))
    assert "source " not in said(UpOptions(tmp_path))


def test_a_data_folder_of_ones_own_is_said_for_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"--data-dir {tmp_path / 'labels'}" in said(UpOptions(tmp_path / "labels"))
    assert "--data-dir" not in said(UpOptions(Path("regiontext-data")))
    assert "--data-dir" not in said(UpOptions(tmp_path / "regiontext-data"))
