from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.evaluate.errors import WrongFolder
from backend.evaluate.vip_bench import (
    VipItem,
    figures,
    judge_words,
    read_vip_bench,
    verdict,
)
from tests.backend.evaluate.folders import vip_folder


def test_a_split_is_read(tmp_path: Path) -> None:
    first, second = read_vip_bench(vip_folder(tmp_path / "vip"), "human")
    assert first.id == "v1_0"
    assert first.question == "What is within the blue scribble?"
    assert first.image.name == "v1_0.png"
    assert second.capabilities == ("ocr", "math")


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("vip-bench-meta-data.json", "it has no vip-bench-meta-data.json; get it from"),
        ("bbox/questions.jsonl", "questions.jsonl cannot be read"),
        ("bbox/images/v1_1.png", "v1_1.png is not there"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, gone: str, words: str) -> None:
    folder = vip_folder(tmp_path / "vip")
    (folder / gone).unlink()
    with pytest.raises(WrongFolder, match=words):
        read_vip_bench(folder, "bbox")


def test_the_folder_above_is_no_folder_but_says_which_is(tmp_path: Path) -> None:
    vip_folder(tmp_path / "ViP-Bench")
    with pytest.raises(WrongFolder, match=r"did you mean .*ViP-Bench\?"):
        read_vip_bench(tmp_path, "bbox")


def test_an_item_without_question_and_a_line_without_sense(tmp_path: Path) -> None:
    folder = vip_folder(tmp_path / "vip")
    lines = folder / "bbox" / "questions.jsonl"
    whole = lines.read_text()
    lines.write_text(whole.splitlines()[0])
    with pytest.raises(WrongFolder, match="v1_1"):
        read_vip_bench(folder, "bbox")
    lines.write_text(whole + "{oops\n")
    with pytest.raises(WrongFolder, match="line 3"):
        read_vip_bench(folder, "bbox")
    lines.write_text(whole)
    (folder / "vip-bench-meta-data.json").write_text(json.dumps([]))
    with pytest.raises(WrongFolder, match="no items"):
        read_vip_bench(folder, "bbox")


def test_the_judge_gets_the_table_with_the_row_to_complete() -> None:
    item = VipItem("v1_0", Path("x"), "What is it?", "a dog<OR>a puppy", ("rec",))
    asked = judge_words(item, "a cat", prompt="HEAD\n")
    assert asked == "HEAD\nWhat is it? | a dog <OR> a puppy | a cat | "
    again = judge_words(item, "a cat", again=True)
    assert again.endswith("as a number only: ")
    assert "Question | Ground truth | Prediction | Correctness" in again


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("0.7", 0.7),
        (" 1.0\n", 1.0),
        ("1", 1.0),
        (".5", 0.5),
        ("0.5 because", 0.5),
        ("1.5", None),
        ("10", None),
        ("2", None),
        ("right", None),
        ("", None),
        ("-1", None),
    ],
)
def test_the_verdict(said: str, expected: float | None) -> None:
    assert verdict(said) == expected


def test_figures_are_percent_overall_and_per_capability() -> None:
    def item(*names: str) -> VipItem:
        return VipItem("", Path(), "", "", names)

    told = figures(
        [item("rec"), item("rec", "ocr"), item("ocr", "rec")],
        [[1.0, 0.8], [0.5, 0.5], [0.0, 0.2]],
    )
    assert (told["total"], told["runs"], told["std"]) == (50.0, [50.0, 50.0], 0.0)
    assert told["capabilities"] == {
        "ocr": {"score": 30.0, "n": 2},
        "rec": {"score": 50.0, "n": 3},
    }
    assert told["combinations"] == {
        "ocr+rec": {"score": 30.0, "n": 2},
        "rec": {"score": 90.0, "n": 1},
    }
    assert told["interval"][0] <= 50 <= told["interval"][1]
    assert figures([item("rec")], [[1.0, 0.0]])["std"] == 50.0
