"""`regiontext outcomes`: the figures of arms and annotators in the terminal."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from backend.cli import app
from backend.store import AnnotationRow, OutcomeRow, open_store
from backend.store import queries as stored


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("REGIONTEXT_", "LABEL_STUDIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(
        app, ["outcomes", *arguments], env={"COLUMNS": "200", "NO_COLOR": "1"}
    )


def add(session: Any, id: int, arm: str, text: str, **extra: Any) -> None:
    image = f"{arm}{extra.get('task', id)}"
    stored.upsert(
        session,
        AnnotationRow(
            id=id, project=1, task=id, completed_by=id, result=[], deleted=False,
            image_hash=image, source="collect",
        ),
    )  # fmt: skip
    values = {
        "region": "r1", "field": "caption", "project": 1, "task": id, "image_hash": image, "arm": arm,
        "outcome": "accepted" if arm == "assist" else "added", "suggested": [], "final": [text],
        "options": [], "question": "q", "labels": [], "annotator": id, "edit_share": 0.0,
        "edit_chars": 0 if arm == "assist" else 20, "edit_words": 0, "meaning_changed": False,
        "seconds": 4.0 if arm == "assist" else 9.0, "updated_at": datetime(2026, 1, id, tzinfo=UTC),
    }  # fmt: skip
    session.add(OutcomeRow(annotation=id, **(values | extra)))


def test_arms_traps_and_annotators() -> None:
    assert "no outcomes yet" in run().output
    store = open_store("sqlite:///regiontext-data/regiontext.db")
    with store.begin() as session:
        for id in (1, 2):
            add(session, id, "assist", "a red car", task=7)
        for id in (3, 4):
            add(session, id, "control", "a blue car")
        add(session, 5, "assist", "two dogs", trap=True)
    store.close()
    found = run()
    assert found.exit_code == 0, found.output
    lines = [" ".join(line.split()) for line in found.output.splitlines()]
    assert "│ regions │ 2 │ 2 │ 0 │" in lines
    assert "│ seconds per region │ 4.0 (4.0 to 4.0) │ 9.0 (9.0 to 9.0) │ – │" in lines
    assert "assist less control, seconds per region: -5.0 (-5.0 to -5.0)" in lines
    assert "assist less control, characters per text: -20.0 (-20.0 to -20.0)" in lines
    assert "traps: 1 of 1 were left standing" in lines
    assert "annotation 5, region r1" in lines
    assert any(line.startswith("│ caption │ 1 │ – │") and "1.00" in line for line in lines)

    told = json.loads(run("--json").output)
    assert told["arms"][0]["seconds"]["value"] == 4.0
    assert told["agreement"][0]["text"]["overlap"] == 1.0
    assert json.loads(run("--json", "--project", "2").output)["arms"][0]["fields"] == 0
