from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backend.cli.app import app
from backend.explain import NothingFound, explain
from backend.store import Store, open_store
from tests.backend.report.sample import seed


@pytest.fixture
def store(tmp_path: Path, database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    seed(opened, tmp_path)
    run = tmp_path / "runs" / "0001"
    (run / "data").mkdir()
    (run / "data" / "train.jsonl").write_text(json.dumps({"id": "2-r1-caption#7"}) + "\n")
    (run / "answers.jsonl").write_text(json.dumps({"record": "11-r1-caption"}) + "\n")
    yield opened
    opened.close()


def kinds(store: Store, id: str) -> list[str]:
    return [link.kind for link in explain(store, id)[0].links]


WHOLE = [
    "image",
    "region",
    "render",
    "question, field caption",
    "model",
    "suggestion",
    "outcome",
    "record",
]


@pytest.mark.parametrize("id", ["s2", "2-r1-caption", f"{2:064x}"])
def test_the_whole_chain_from_each_of_its_ids(store: Store, id: str) -> None:
    (chain,) = explain(store, id)
    assert [link.kind for link in chain.links] == [*WHOLE, "run", "version"]
    assert chain.suggestion == "s2"
    told = {link.kind: link for link in chain.links}
    assert told["image"].id == f"{2:064x}"
    assert told["render"].id == "d" * 64
    assert told["record"].id == "2-r1-caption"
    assert told["run"].lines[0] == "learnt from it"
    assert told["version"].id == "mini:0001"
    assert "champion on mini" in told["version"].lines[0]
    assert any("adapter_config.json" in line for line in told["version"].lines)


def test_what_judged_says_so_and_was_not_learnt_from(store: Store) -> None:
    (chain,) = explain(store, "11-r1-caption")
    assert [link.kind for link in chain.links] == [
        "image", "region", "outcome", "record", "run", "version",
    ]  # fmt: skip
    assert chain.links[4].lines[0] == "was judged by it"


def test_an_unused_record_says_so(store: Store) -> None:
    assert kinds(store, "4-r1-caption") == WHOLE
    assert explain(store, "4-r1-caption")[0].links[-1].lines == ("no run has used it",)


def test_a_region_id_that_many_tasks_have_shows_the_latest(store: Store) -> None:
    chains = explain(store, "r1")
    assert len(chains) == 20
    assert chains[0].links[0].id == f"{60:064x}"


@pytest.mark.parametrize(
    "id", ["mini:0002", "0002", "2", "runs/0002", "mini@0002+r1a2b3c4+q5d6e7f8"]
)
def test_runs_and_versions(store: Store, id: str) -> None:
    (chain,) = explain(store, id)
    assert [(link.kind, link.id) for link in chain.links] == [
        ("run", "0002"),
        ("version", "mini:0002"),
    ]
    assert "not proved better" in chain.links[1].lines[1]


def test_nothing_is_said_to_be_nothing(store: Store) -> None:
    with pytest.raises(NothingFound, match="nothing has the id 'zzz'"):
        explain(store, "zzz")
    with pytest.raises(NothingFound):
        explain(store, "2-r9-caption")


def test_in_the_terminal(
    store: Store, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGIONTEXT_DATABASE_URL", database_url)
    folder = tmp_path / "seen"
    folder.mkdir()
    (folder / "s2.png").write_bytes(b"")
    (folder / "s2.json").write_text('{"exact": true, "why": ""}')
    said = CliRunner().invoke(
        app, ["explain", "s2", "--data-dir", str(tmp_path)], env={"COLUMNS": "400"}
    )
    assert said.exit_code == 0, said.output
    assert f"picture: {folder / 's2.png'} (as the model saw it, to the pixel)" in said.output
    assert "suggestion  s2" in said.output
    wrong = CliRunner().invoke(app, ["explain", "zzz", "--data-dir", str(tmp_path)])
    assert wrong.exit_code == 1
