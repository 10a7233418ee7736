from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regiontext.errors import RecordError
from regiontext.records.manifest import (
    file_hash,
    has_manifest,
    read_manifest,
    verify_manifest,
    write_manifest,
)
from regiontext.records.record import Record, record_id
from regiontext.records.staging import resumable_folder

SHAPE: dict[str, Any] = {"id": "r1", "type": "rectanglelabels", "value": {"x": 1}}
RECORD = Record(
    id=record_id(7, ("r1",), "caption"), project=1, task=2, annotation=7, image_hash="ab" * 32,
    image="/data/upload/1/x.png", size=(80, 60), regions=("r1",), shapes=(SHAPE,), labels=("Car",),
    field="caption", kind="open", wording="Describe the object {mark}.", options=(),
    answer=("a red car",), outcome="edited", arm="assist", suggested=("a car",),
    prompt="Describe the object within the red rectangle.", model_version="m@base+r1+q2",
    annotator=3, updated_at="2026-01-02T03:04:05+00:00",
)  # fmt: skip


def test_a_record_survives_json() -> None:
    assert Record.from_dict(json.loads(json.dumps(RECORD.to_dict()))) == RECORD


def test_records_that_teach_nothing_are_refused() -> None:
    with pytest.raises(RecordError, match="no answer"):
        replace(RECORD, answer=(" ",))
    with pytest.raises(RecordError, match="1 regions and 0 shapes"):
        replace(RECORD, shapes=())
    with pytest.raises(RecordError, match="no outcome"):
        replace(RECORD, outcome="liked")  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="no arm"):
        replace(RECORD, arm="train")  # type: ignore[arg-type]


def test_unknown_and_missing_keys_are_named() -> None:
    data = RECORD.to_dict()
    with pytest.raises(RecordError, match="colour"):
        Record.from_dict(data | {"colour": 1})
    with pytest.raises(RecordError, match="answer"):
        Record.from_dict({key: value for key, value in data.items() if key != "answer"})


def test_the_answer_as_one_line() -> None:
    assert replace(RECORD, answer=("A car.", "It is parked.")).text == "A car. It is parked."
    assert replace(RECORD, kind="closed", answer=("clear", "near")).text == "clear, near"


def test_a_manifest_names_every_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("a")
    written = write_manifest(tmp_path, counts={"records": 1}, extra={"kind": "export"})
    assert read_manifest(tmp_path) == written
    assert written["files"]["sub/a.txt"]["sha256"] == file_hash(tmp_path / "sub" / "a.txt")
    assert verify_manifest(tmp_path) == []
    (tmp_path / "sub" / "a.txt").write_text("b")
    (tmp_path / "new").write_text("")
    assert verify_manifest(tmp_path) == [
        "new: not in the manifest",
        "sub/a.txt: changed since it was written",
    ]
    (tmp_path / "sub" / "a.txt").unlink()
    assert "sub/a.txt: missing" in verify_manifest(tmp_path)


def test_a_manifest_keeps_its_own_keys(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="files"):
        write_manifest(tmp_path, counts={}, extra={"files": {}})
    with pytest.raises(RecordError, match="no manifest"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    assert not has_manifest(tmp_path)


def written(
    out: Path, *, replaceable: Callable[[Path], bool] = has_manifest
) -> AbstractContextManager[Path]:
    """A folder of which nothing is worth keeping but the whole."""
    return resumable_folder(out, replaceable=replaceable, worth_keeping=lambda folder: False)


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with written(out) as folder:
        (folder / "a").write_text("a")
        assert not out.exists()
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_failed_write_leaves_the_old_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with written(out) as folder:
        write_manifest(folder, counts={"n": 1})
    with pytest.raises(KeyboardInterrupt), written(out):
        raise KeyboardInterrupt
    assert read_manifest(out)["counts"] == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_only_our_own_folders_are_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with written(out) as folder:
        (folder / "notes.txt").write_text("mine")
    with pytest.raises(RecordError, match="not empty"), written(out):
        raise AssertionError("must be refused before the block")
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    write_manifest(out, counts={"n": 1})
    with written(out) as folder:
        write_manifest(folder, counts={"n": 2})
    assert read_manifest(out)["counts"] == {"n": 2}
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RecordError, match="is a file"), written(file, replaceable=bool):
        raise AssertionError("must be refused before the block")


def test_a_replacement_killed_half_way_is_put_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_manifest(out, counts={"n": 1})
    out.rename(tmp_path / ".out.previous")
    with pytest.raises(ValueError), written(out):
        raise ValueError
    assert read_manifest(out)["counts"] == {"n": 1}


def test_what_is_worth_keeping_is_found_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (1, 2):
        with (
            pytest.raises(KeyboardInterrupt),
            resumable_folder(
                out, replaceable=has_manifest, worth_keeping=lambda folder: any(folder.iterdir())
            ) as folder,
        ):
            assert [path.name for path in folder.iterdir()] == ["1"][: number - 1]
            (folder / "1").write_text("half")
            raise KeyboardInterrupt
        assert not out.exists()
    with written(out) as folder:
        assert (folder / "1").read_text() == "half"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
