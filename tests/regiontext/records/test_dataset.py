from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regiontext.errors import RecordError
from regiontext.records.dataset import merged, read_dataset, write_dataset
from regiontext.records.example import SCHEMA, Example
from regiontext.records.formats.format import Options
from regiontext.records.formats.registry import FORMATS, find_format
from regiontext.records.spine import RECORDS_NAME, Done, Spine, compact, read_lines, read_records
from tests.regiontext.records.examples import EDITED, all_kinds, example, spine

PREFERENCES = [name for name, fmt in FORMATS.items() if fmt.preferences]


def without(beside: Any, carried: Any) -> Any:
    """`beside` less everything that `carried` says, so that only a format's own files can say it."""
    if isinstance(carried, dict) and isinstance(beside, dict):
        left = {}
        for key, value in beside.items():
            if key not in carried:
                left[key] = value
            elif isinstance(carried[key], dict | list) and key != "rle":
                inner = without(value, carried[key])
                if inner not in (None, {}):
                    left[key] = inner
        return left
    if (
        isinstance(carried, list)
        and isinstance(beside, list)
        and carried
        and len(beside) == len(carried)
        and all(isinstance(one, dict) for one in carried)
    ):
        return [without(b, c) for b, c in zip(beside, carried, strict=True)]
    return None


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Example]]]:
    folder = tmp_path_factory.mktemp("records")
    yield folder, spine(folder)


@pytest.fixture
def dataset(tmp_path: Path, records: tuple[Path, list[Example]]) -> Path:
    """A folder with records.jsonl and pictures, ready for a format's files."""
    for path in records[0].iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / RECORDS_NAME).unlink()
    (tmp_path / RECORDS_NAME).write_bytes((records[0] / RECORDS_NAME).read_bytes())
    return tmp_path


VARIANTS = [
    *((name, None) for name in FORMATS),
    ("ms-swift", "unit"),
    ("ms-swift", "qwen3-vl"),
    ("ms-swift", "internvl"),
    ("qwen-vl", "qwen3-vl"),
    ("qwen-vl", "paligemma"),
    ("qwen-vl", "llava"),
]


@pytest.mark.parametrize(("name", "coordinates"), VARIANTS)
def test_what_a_format_holds_it_gives_back(
    name: str, coordinates: str | None, dataset: Path, records: tuple[Path, list[Example]]
) -> None:
    options = Options(coordinates=coordinates)
    fmt = find_format(name, options)
    written = write_dataset(dataset, fmt, options)
    fitting = [one for one in records[1] if fmt.unfit(one, options) is None]
    assert written.written.total() == len(fitting) > 0
    assert written.written.total() + written.left_out.total() == len(records[1])
    assert list(read_dataset(dataset, fmt, options)) == records[1]
    # Everything that the files say is taken out of records.jsonl: it must come from the files.
    lines = {line["id"]: line for line in read_lines(dataset)}
    held = {item.id: item for item in fmt.read(dataset, options)}
    assert set(held) == {one.id for one in fitting}
    bare = []
    for id, line in lines.items():
        if id in held:
            carried = fmt.carried(held[id].what, line, options) | {"split": held[id].split}
            assert "turns" in carried
            line = without(line, carried) | {"id": id, "schema": SCHEMA}
            # Where a turn is said in part only, the record says how many turns there are.
            line.setdefault("turns", [{} for _ in lines[id]["turns"]])
        bare.append(compact(line))
    (dataset / RECORDS_NAME).write_text("\n".join(bare) + "\n")
    assert (dataset / RECORDS_NAME).stat().st_size < sum(
        len(compact(line)) for line in lines.values()
    )
    assert {one.id: one for one in read_dataset(dataset, fmt, options)} == {
        one.id: one for one in records[1]
    }


@pytest.mark.parametrize("name", FORMATS)
def test_holdout_never_enters_a_dataset(name: str, tmp_path: Path) -> None:
    held = example(tmp_path, **EDITED | {"arm": "holdout"})
    with pytest.raises(RecordError, match="holdout"), Spine(tmp_path) as lines:
        lines.add(held)
    # Not even if somebody wrote it into the records by hand.
    (tmp_path / RECORDS_NAME).write_text(compact(held.to_dict()) + "\n")
    with pytest.raises(RecordError, match="holdout"):
        write_dataset(tmp_path, FORMATS[name])
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != RECORDS_NAME:
            assert b"a red car" not in path.read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_records_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        spine(folder)
        write_dataset(folder, FORMATS[name])
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files.append({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})
    assert files[0] == files[1]
    assert not [name for name in files[0] if name.rpartition("/")[2].startswith(".")]


def test_the_files_win_over_the_records(dataset: Path) -> None:
    write_dataset(dataset, FORMATS["llava"])
    items = json.loads((dataset / "train.json").read_text())
    items[0]["conversations"][0]["value"] = "<image>\nWhat is it?"
    items[0]["conversations"][1]["value"] = "a green car"
    gone = items.pop(2)["id"]
    (dataset / "train.json").write_text(json.dumps(items[::-1], indent=4))
    read = {one.id: one for one in read_dataset(dataset, FORMATS["llava"])}
    assert gone not in read
    changed = read[items[0]["id"]]
    assert changed.answer == ("a green car",)
    assert changed.turns[0].text == "What is it?"
    assert changed.turns[0].places == ()


def test_a_record_with_a_placeholder_in_its_text_is_left_out(tmp_path: Path) -> None:
    spine(tmp_path, [example(tmp_path), example(tmp_path, number=2, answer=("an <image> of",))])
    written = write_dataset(tmp_path, FORMATS["llava"])
    assert written.written == {"train": 1}
    assert written.left_out == {"the text holds <image>, which is a placeholder of the format": 1}
    # It is in the records all the same.
    assert len(list(read_dataset(tmp_path, FORMATS["llava"]))) == 2


@pytest.mark.parametrize("name", PREFERENCES)
def test_pairs_are_edits_that_change_the_meaning(name: str, tmp_path: Path) -> None:
    spine(
        tmp_path,
        [
            example(tmp_path, **EDITED),
            example(tmp_path, number=2, **EDITED | {"suggested": ("A RED car",)}),
            example(tmp_path, number=3, **EDITED | {"outcome": "accepted"}),
            example(tmp_path, number=4),
            example(tmp_path, number=5, field="q", options=("x", "y"), answer=("x",),
                    **EDITED | {"suggested": ("y",)}),
        ],
    )  # fmt: skip
    asked: list[tuple[str, str]] = []

    def meaning(before: str, after: str) -> bool:
        asked.append((before, after))
        return False

    fmt = FORMATS[name]
    assert write_dataset(tmp_path, fmt).written == {"train": 2}
    text = next(tmp_path.glob("train.json*")).read_text()
    assert "a blue car" in text and "A RED car" not in text
    # A closed field's change always changes the meaning.
    assert write_dataset(tmp_path, fmt, Options(meaning_changed=meaning)).written == {"train": 1}
    assert asked == [("a blue car", "a red car"), ("A RED car", "a red car")]


def test_unknown_formats_and_coordinates() -> None:
    with pytest.raises(RecordError, match="'yolo'"):
        find_format("yolo")
    with pytest.raises(RecordError, match="no coordinates to choose"):
        find_format("llava", Options(coordinates="qwen3-vl"))
    with pytest.raises(RecordError, match="'qwen9'"):
        find_format("qwen-vl", Options(coordinates="qwen9"))
    with pytest.raises(RecordError, match="'unit'"):
        find_format("qwen-vl", Options(coordinates="unit"))


@pytest.mark.parametrize("one", all_kinds(None), ids=lambda one: one.id)
def test_json_and_back(one: Example) -> None:
    assert Example.from_dict(json.loads(compact(one.to_dict()))) == one
    with pytest.raises(RecordError, match="schema"):
        Example.from_dict(one.to_dict() | {"schema": "regiontext-record/99"})
    for key in one.to_dict():
        broken = one.to_dict()
        del broken[key]
        with pytest.raises(RecordError):
            Example.from_dict(broken)


def test_places_are_where_the_phrases_are() -> None:
    for one in all_kinds(None):
        assert one.marking is not None
        for start, end, region in one.turns[0].places:
            assert one.turns[0].text[start:end] == one.marking.phrases[region]
    pair = all_kinds(None)[4]
    assert pair.turns[0].naming(lambda region: f"R{region}").startswith("How is R1 seen from R0?")


def test_what_a_killed_process_wrote_is_found_again(tmp_path: Path) -> None:
    made = spine(tmp_path)
    path = tmp_path / RECORDS_NAME
    path.write_bytes(path.read_bytes()[:-50])
    done = Done(path, tmp_path / "missing" / RECORDS_NAME)
    assert len(done) == len(made) - 1
    assert done.find(made[0].id, made[0].provenance.made_from) == (made[0], tmp_path)
    assert done.find(made[0].id, "something else") is None
    assert done.find(made[-1].id, made[-1].provenance.made_from) is None


def test_a_broken_line_is_told_with_its_number(tmp_path: Path) -> None:
    spine(tmp_path, [example(tmp_path)])
    with (tmp_path / RECORDS_NAME).open("a") as file:
        file.write("{nonsense\n")
    with pytest.raises(RecordError, match="line 2"):
        list(read_records(tmp_path))


def test_merging_goes_into_objects_and_lists_of_objects() -> None:
    beside = {"a": {"x": 1, "y": 2}, "b": [{"x": 1}, {"x": 2}], "c": [1, 2]}
    carried = {"a": {"y": 3}, "b": [{}, {"y": 5}], "c": [9], "d": 4}
    assert merged(beside, carried) == {
        "a": {"x": 1, "y": 3}, "b": [{"x": 1}, {"x": 2, "y": 5}], "c": [9], "d": 4,
    }  # fmt: skip


def test_an_example_without_answer_or_of_an_unknown_arm_is_refused() -> None:
    one = example(None)
    for broken in ({"answer": (" ",)}, {"regions": ()}, {"split": "test"}):
        with pytest.raises(RecordError):
            replace(one, **broken)  # type: ignore[arg-type]
