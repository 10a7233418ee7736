"""The command line, and the sheets it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regiontext.errors import MarkError
from regiontext.marks.__main__ import main
from regiontext.marks.kinds import KINDS
from regiontext.marks.sheet import contact_sheet
from tests.regiontext.marks.regions import SIZE, box, ring

GREY = Image.new("RGB", SIZE, (90, 100, 110))


def shape(id: str, item: int = 0, **value: Any) -> dict[str, Any]:
    given = {"x": 10, "y": 10, "width": 30, "height": 40, "rectanglelabels": ["Car"]} | value
    original = {"original_width": SIZE[0], "original_height": SIZE[1], "item_index": item}
    return {"id": id, "type": "rectanglelabels", "value": given, **original}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    GREY.save(path)
    return path


def written(folder: Path, data: object) -> str:
    path = folder / "annotation.json"
    path.write_text(json.dumps(data))
    return str(path)


def sheets(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


def test_every_region_gets_a_sheet_and_all_get_one_together(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [{"id": 1, "annotations": [{"id": 2, "result": [shape("a/b"), shape("c", x=60)]}]}]
    out = tmp_path / "made" / "here"
    assert main([str(image), written(tmp_path, data), str(out)]) == 0
    assert sheets(out) == ["01-a_b.png", "02-c.png", "together.png"]
    said = capsys.readouterr()
    assert said.out.split() == [str(out / name) for name in sheets(out)] and said.err == ""


def test_the_choices_of_the_command_line(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, [shape("a"), shape("b", x=50), shape("c", item=1)])
    one = tmp_path / "one"
    assert main([str(image), path, str(one), "--region", "b", "--scope", "whole"]) == 0
    assert sheets(one) == ["01-b.png"]
    assert "1 region(s) on other images of the task; draw those with --item 1" in (
        capsys.readouterr().err
    )
    other = tmp_path / "other"
    assert main([str(image), path, str(other), "--item", "1", "--seed", "9"]) == 0
    assert sheets(other) == ["01-c.png"]


def test_a_malformed_region_is_named_and_the_others_are_drawn(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, [shape("good"), shape("bad", width=-3)])
    assert main([str(image), path, str(tmp_path / "out"), "--scope", "whole"]) == 1
    assert sheets(tmp_path / "out") == ["01-good.png"]
    assert "left out: region 'bad'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        ([shape("a")], ["--region", "z"], "no region z; there are a"),
        ([shape("a", item=2)], [], "no region on image 0"),
        ([{"id": "t", "type": "textarea", "value": {"text": ["x"]}}], [], "no region on image 0"),
        ({"id": 1}, [], "no results found"),
        ([{"id": 1, "annotations": []}], ["--task", "4"], "with id 4"),
        ([shape("a")], ["--context", "-1"], "context is -1.0"),
    ],
)
def test_what_cannot_be_drawn_says_why(
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    data: object,
    more: list[str],
    message: str,
) -> None:
    assert main([str(image), written(tmp_path, data), str(tmp_path / "out"), *more]) == 1
    assert message in capsys.readouterr().err
    assert sheets(tmp_path / "out") == []


def test_unusable_files_say_why(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, out = written(tmp_path, [shape("a")]), str(tmp_path / "out")
    assert main([str(tmp_path / "none.png"), good, out]) == 1
    assert "none.png" in capsys.readouterr().err
    assert main([good, good, out]) == 1
    assert "image" in capsys.readouterr().err
    assert main([str(image), str(image), out]) == 1
    assert capsys.readouterr().err
    (tmp_path / "broken.json").write_text("{")
    assert main([str(image), str(tmp_path / "broken.json"), out]) == 1
    assert "is no JSON" in capsys.readouterr().err
    (tmp_path / "deep.json").write_text("[" * 200_000)
    assert main([str(image), str(tmp_path / "deep.json"), out]) == 1
    assert "is no JSON" in capsys.readouterr().err
    (tmp_path / "wide.json").write_text("[]", encoding="utf-16")
    assert main([str(image), str(tmp_path / "wide.json"), out]) == 1
    assert "wide.json is no JSON" in capsys.readouterr().err


def test_json_saved_with_a_byte_order_mark_is_read(image: Path, tmp_path: Path) -> None:
    path = tmp_path / "notepad.json"
    path.write_text(json.dumps([shape("a")]), encoding="utf-8-sig")
    assert main([str(image), str(path), str(tmp_path / "out"), "--scope", "whole"]) == 0
    assert sheets(tmp_path / "out") == ["01-a.png"]


def test_a_seed_below_zero_is_a_wrong_command_line(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, [shape("a")])
    with pytest.raises(SystemExit, match="2"):
        main([str(image), path, str(tmp_path / "out"), "--seed", "-1"])
    assert "argument --seed: -1 is below 0" in capsys.readouterr().err


def test_it_runs_as_a_program(image: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "regiontext.marks"]
    data = written(tmp_path, {"id": 3, "result": [shape("a")]})
    out = tmp_path / "out"
    done = subprocess.run([*program, image, data, out], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, str(out / "01-a.png"))
    done = subprocess.run([*program, image], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "usage: python -m regiontext.marks" in done.stderr


def test_a_sheet_shows_every_kind_and_follows_the_seeds() -> None:
    def sheet(*seeds: int) -> np.ndarray:
        return np.asarray(contact_sheet(GREY, [ring()], title="ring", seeds=seeds, scope="whole"))

    one, same, other = sheet(1, 2), sheet(1, 2), sheet(1, 3)
    assert (one == same).all()
    moved = np.flatnonzero((one != other).any(axis=(0, 2)))
    middle = one.shape[1] // 2
    # Only the last of three columns on either half changes with the last seed, and the legend.
    for start in (0, middle):
        inside = moved[(moved >= start) & (moved < start + middle)] - start
        assert len(inside) and (inside > middle / 3 - 40).all()


def test_a_sheet_shows_every_picture_of_a_view() -> None:
    pair = [ring(), box(130, 10, 190, 60)]
    together, each, both = (
        np.asarray(contact_sheet(GREY, pair, title="two", scope=scope, kinds=("rectangle",)))
        for scope in ("crop", "each", "both")
    )
    assert together.shape == each.shape == both.shape
    assert (together != each).any() and (together != both).any()
    # Both regions' marks are there, though no picture of "each" has both.
    red, blue = each[..., 0].astype(int), each[..., 2].astype(int)
    assert (red - blue > 100).any() and (blue - red > 100).any()


def test_a_sheet_of_several_regions_names_them_and_more_than_nine_are_numbered() -> None:
    pair = contact_sheet(GREY, [ring(), box(130, 10, 190, 60)], title="two", scope="whole")
    single = contact_sheet(GREY, [ring()], title="one", scope="whole")
    assert pair.height > single.height
    many = [box(20 * i, 10, 20 * i + 15, 60, str(i)) for i in range(10)]
    numbered = contact_sheet(GREY, many, title="ten", scope="whole")
    assert numbered.height < pair.height / 2
    with pytest.raises(MarkError, match="no region"):
        contact_sheet(GREY, [], title="none")
    assert len(KINDS) == 11
