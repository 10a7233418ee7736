"""What the environment says, and the road when nobody is at its end; without Label Studio."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import plugin
from plugin.road import SECRET_HEADER, lines_from, post_to
from plugin.setup import Setup, setup
from tests.label_studio_server import free_port


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Label Studio that was tested, and a complete environment."""
    monkeypatch.setattr(metadata, "version", lambda _: "1.23.2")
    monkeypatch.setenv("REGIONTEXT_BACKEND_URL", "http://backend:9090/")
    monkeypatch.setenv("REGIONTEXT_ASSIST_SECRET", "s")
    setup.cache_clear()
    yield
    setup.cache_clear()


def test_the_environment_is_read_once() -> None:
    found = setup()
    assert found == Setup("http://backend:9090", "s") and setup() is found
    assert "'s'" not in repr(found)


def test_a_label_studio_that_was_not_tested_is_left_alone_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "1.24.0")
    with caplog.at_level(logging.WARNING):
        assert setup() is None and setup() is None
    (line,) = caplog.messages
    assert "1.23." in line and "1.24.0" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REGIONTEXT_BACKEND_URL", ""),
        ("REGIONTEXT_BACKEND_URL", "backend:9090"),
        ("REGIONTEXT_ASSIST_SECRET", " "),
    ],
)
def test_without_its_variables_it_stays_out(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING):
        assert setup() is None
    assert "REGIONTEXT_ASSIST_SECRET" in caplog.text


def test_a_backend_that_is_not_there_is_one_line() -> None:
    nobody = Setup(f"http://127.0.0.1:{free_port()}", "s")
    (line,) = list(lines_from(nobody, {}))
    assert json.loads(line)["event"] == "away" and line.endswith(b"\n")
    assert post_to(nobody, "/assist/unseen", {}) == 502


def test_both_sides_name_the_header_alike() -> None:
    from backend.protocol import PAGE
    from backend.security import ASSIST_SECRET_HEADER

    assert SECRET_HEADER == ASSIST_SECRET_HEADER
    # Read from the source: the module itself needs Label Studio around it.
    source = Path(plugin.__path__[0], "smart_tools.py").read_text(encoding="utf-8")
    assert f'PAGE = "{PAGE}"' in source
