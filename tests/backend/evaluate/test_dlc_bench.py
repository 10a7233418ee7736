from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.evaluate.dlc_bench import (
    DlcItem,
    DlcQuestion,
    chosen,
    figures,
    judge_words,
    read_dlc_bench,
    region_of,
)
from backend.evaluate.errors import WrongFolder
from tests.backend.evaluate.folders import dlc_folder


def test_regions_are_read_with_the_question_about_recognition_first(tmp_path: Path) -> None:
    first, second = read_dlc_bench(dlc_folder(tmp_path / "dlc"))
    assert [question.kind for question in first.questions] == [
        "recognition",
        "positive",
        "negative",
    ]
    assert "an Umbrella" in first.questions[0].question
    assert "objects that are Gloves" in second.questions[0].question
    assert first.questions[1].choices[1] == ("Blue", -1.0)
    box = region_of(first, (80, 60))
    assert box.mask.sum() == pytest.approx(25 * 20, rel=0.1)
    assert region_of(second, (80, 60)).mask.sum() == 20 * 30


@pytest.mark.parametrize("gone", ["annotations.json", "qa.json", "class_names.json"])
def test_a_wrong_folder_says_what_is_missing(tmp_path: Path, gone: str) -> None:
    folder = dlc_folder(tmp_path / "DLC-bench")
    with pytest.raises(WrongFolder, match=r"did you mean .*DLC-bench\?"):
        read_dlc_bench(tmp_path)
    (folder / gone).unlink()
    with pytest.raises(WrongFolder, match=f"it has no {gone}; get it from"):
        read_dlc_bench(folder)


def test_parts_that_do_not_fit_together(tmp_path: Path) -> None:
    folder = dlc_folder(tmp_path / "dlc")
    (folder / "class_names.json").write_text(json.dumps({"11": "Umbrella"}))
    with pytest.raises(WrongFolder, match="do not fit together"):
        read_dlc_bench(folder)
    (folder / "qa.json").write_text("{}")
    with pytest.raises(WrongFolder, match="asks nothing"):
        read_dlc_bench(folder)
    (folder / "qa.json").write_text("{")
    with pytest.raises(WrongFolder, match="cannot be read"):
        read_dlc_bench(folder)


def test_a_picture_or_mask_that_does_not_fit(tmp_path: Path) -> None:
    folder = dlc_folder(tmp_path / "dlc")
    _, second = read_dlc_bench(folder)
    with pytest.raises(WrongFolder, match="annotation 12"):
        region_of(second, (60, 80))
    (folder / "images" / "o365_1.jpg").unlink()
    with pytest.raises(WrongFolder, match="is not there"):
        read_dlc_bench(folder)


def test_the_judge_sees_description_question_and_choices_only() -> None:
    question = DlcQuestion("positive", "Its colour?", (("Red", 1.0), ("Blue", 0.0)))
    asked = judge_words(question, "a {question} thing", prompt="D: {caption} Q: {question}")
    assert asked == "D: a {question} thing Q: Its colour?\nA. Red\nB. Blue"
    published = judge_words(question, "x", prompt="{pred_caption}/{question_text_str}")
    assert published == "x/Its colour?\nA. Red\nB. Blue"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("A", 0),
        ("b.", 1),
        ("B. blue", 1),
        ("(c)", 2),
        ("Dark red", 2),
        ("**Red**", 0),
        ("The answer is blue.", 1),
        ("It is dark red, not blue", 1),
        ("It is not blue, it is dark red", 2),
        ("a red thing", 0),
        ("dark", 2),
        ("purple", None),
        ("", None),
    ],
)
def test_what_the_judge_picked(said: str, expected: int | None) -> None:
    assert chosen(said, ["Red", "Blue", "Dark red"]) == expected


def item(*questions: tuple[str, float]) -> DlcItem:
    """Each question has one choice that earns the number, and one that earns nothing."""
    asked = [DlcQuestion("recognition", "", (("Yes", 1.0), ("No", 0.0)))]
    asked += [DlcQuestion(kind, "", (("x", score), ("y", 0.0))) for kind, score in questions]
    return DlcItem("1", Path(), None, tuple(asked))


def test_figures_are_means_over_regions() -> None:
    items = [
        item(("positive", 1.0), ("positive", 0.5), ("negative", 1.0)),
        item(("positive", 1.0), ("negative", -1.0), ("negative", 1.0)),
        item(("positive", 1.0)),
    ]
    told = figures(items, [[0, 0, 0, 0], [0, None, 0, 0], [0, 0]])
    assert told["positive"]["value"] == pytest.approx((0.75 + 0 + 1) / 3)
    assert (told["negative"]["value"], told["negative"]["n"]) == (pytest.approx(0.5), 2)
    assert told["average"] == pytest.approx(
        (told["positive"]["value"] + told["negative"]["value"]) / 2
    )
    assert told["recognised"]["value"] == 1


def test_nothing_is_earned_about_a_region_that_was_not_recognised() -> None:
    for picked in (1, None):
        told = figures(
            [item(("positive", 1.0), ("negative", -1.0), ("negative", 1.0))], [[picked, 0, 0, 0]]
        )
        assert told["positive"]["value"] == 0
        assert told["negative"]["value"] == -0.5
        assert told["recognised"]["value"] == 0
