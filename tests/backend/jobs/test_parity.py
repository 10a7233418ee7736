from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from backend.jobs.parity import Asked, parity
from backend.model_client import ModelClient
from tests.backend.jobs.fakes import FakeModelServer

DOT = "data:image/png;base64,iVBORw0KGgo="


def run(server: FakeModelServer, folder: Path, module: str) -> list[str]:
    async def go() -> list[str]:
        async with ModelClient(server.url) as client:
            return await parity(
                client,
                [Asked((DOT,), f"What is it? {n}") for n in range(10)],
                champion="tiny",
                challenger="tiny:0001",
                base="b",
                adapter=folder / "adapter",
                folder=folder / "parity",
                max_tokens=9,
                module=module,
            )

    server.adapters["tiny:0001"] = "/a"
    return asyncio.run(go())


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that says what it is told to, as the trainer's own would."""
    code = tmp_path / "says_offline.py"
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    return code


CODE = """
import json, sys
from pathlib import Path
folder = Path(sys.argv[sys.argv.index("--questions") + 1])
lines = (folder / "questions.jsonl").read_text().splitlines()
said = [{{"loaded": {loaded!r}, "merged": {merged!r}}} for _ in lines]
(folder / "answers.json").write_text(json.dumps(said))
"""


def test_all_ways_alike(model_server: FakeModelServer, tmp_path: Path, offline: Path) -> None:
    model_server.say = lambda model, prompt, options: "a zigzag" if ":" in model else "plain"
    offline.write_text(CODE.format(loaded="a zigzag", merged="a zigzag"))
    assert run(model_server, tmp_path, "says_offline") == []
    assert (tmp_path / "parity" / "000-0.png").read_bytes().startswith(b"\x89PNG")
    # Every question alone, and every one among the champion's.
    assert len(model_server.asked) == 30


def test_an_adapter_that_is_served_wrongly(
    model_server: FakeModelServer, tmp_path: Path, offline: Path
) -> None:
    model_server.say = lambda model, prompt, options: "plain"
    offline.write_text(CODE.format(loaded="a zigzag", merged="plain"))
    (line,) = run(model_server, tmp_path, "says_offline")
    assert line.startswith("the adapter beside its base, without a server and the server")


def test_what_cannot_be_run_is_said(model_server: FakeModelServer, tmp_path: Path) -> None:
    (line,) = run(model_server, tmp_path, "no.such.module")
    assert "could not be run without a server" in line
    assert "no.such" in line or "No module" in line
