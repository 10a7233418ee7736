"""What an adapter's folder tells of where it comes from, and what it keeps to itself."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from model_server.folder import lineage
from tests.model_server.conftest import RUN

NOTHING = {"base": None, "rank": None, "sha256": None, "run": None}


def test_a_run_is_told_without_the_places_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    config = {"base_model_name_or_path": RUN["base"], "r": 16}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    assert lineage(tmp_path) == {
        "base": "regiontext-mini",
        "rank": 16,
        "sha256": hashlib.sha256(b"weights").hexdigest(),
        "run": {
            "base_name": "regiontext-mini",
            "data_sha256": RUN["data_sha256"],
            "counts": {"new": 40, "wrong_before": 31, "replay": 240, "pairs": 0},
            "steps": 100,
            "targets": "all",
            "seed": 0,
            "loss": RUN["loss"],
            "seconds": 70.3,
            "versions": RUN["versions"],
        },
    }
    assert "/srv/" not in json.dumps(lineage(tmp_path))


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("llava-hf/vip-llava-7b-hf", "llava-hf/vip-llava-7b-hf"),
        ("/srv/models/mini", "mini"),
        (r"C:\Users\me\models\mini", "mini"),
        ("../models/mini/", "mini"),
        (None, None),
        (7, None),
    ],
)
def test_a_base_is_named_not_placed(tmp_path: Path, base: object, told: str | None) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    assert lineage(tmp_path) == {**NOTHING, "base": told}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null"])
def test_a_run_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    assert lineage(tmp_path) == NOTHING
    (tmp_path / "run.json").write_text(text)
    assert lineage(tmp_path) == NOTHING


def test_an_older_run_tells_what_it_knows(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"base_name": "mini", "settings": None}))
    run = lineage(tmp_path)["run"]
    assert run.pop("base_name") == "mini" and set(run.values()) == {None}


def test_a_loss_that_was_no_number_keeps_no_list_of_models_from_being_told(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"loss": {"first": NaN, "last": Infinity}}')
    assert lineage(tmp_path)["run"]["loss"] == {"first": None, "last": None}


def test_a_folder_beside_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "mini").mkdir(parents=True)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "models/mini"}')
    monkeypatch.chdir(tmp_path)
    assert lineage(tmp_path)["base"] == "mini"
