"""`regiontext finetune` on the command line: how often, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backend.cli.app import app
from backend.cli.finetune import _seconds


@pytest.mark.parametrize(
    ("given", "seconds"), [("30m", 1800), ("6h", 21600), ("1.5d", 129600), ("90s", 90)]
)
def test_how_often(given: str, seconds: float) -> None:
    assert _seconds(given) == seconds
    assert _seconds(None) is None


@pytest.mark.parametrize("given", ["6", "h", "0m", "-1h", "6 weeks"])
def test_how_often_not(given: str) -> None:
    with pytest.raises(typer.BadParameter, match="30m, 6h or 7d"):
        _seconds(given)


def test_nothing_to_cancel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["finetune", "--cancel", "--data-dir", str(tmp_path / "data")])
    assert "there is no run to cancel" in done.output, done.output
