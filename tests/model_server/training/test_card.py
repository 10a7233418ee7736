"""The model card says what was measured, and leaves out what was not."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from model_server.folder import BUNDLED
from model_server.training.card import main, write_card
from model_server.training.settings import Settings

ABOUT = {
    "name": "tiny",
    "view": {
        "scope": "crop",
        "kind": "rectangle",
        "context": 0.3,
        "max_side": 224,
        "evidence": True,
    },
    "world": {"version": 2, "seed": 7},
    "card": {
        "parameters": 4_900_000,
        "training": {"start": "older", "minutes": 10.0, "steps": 42, "notes": "Stopped once."},
        "commit": "abc1234",
        "held_back": {"colour": "teal"},
    },
}
TOLD = {
    "run": {"regions": 30, "seed": 1},
    "claims": {"caption_exact": 0.5},
    "asked": {"caption": {"right": 0.5, "n": 30}, "choice/shape": {"right": 0.25, "n": 30}},
    "slices": {"mark": {"arrow": {"right": 0.75, "n": 4}}},
    "controls": {
        "removed": {"right": 0.2, "follows": 0.5, "chance": 0.125, "n": 10},
        "moved": {"right": 0.1, "follows": 0.8, "n": 10},
        "unseen_kind": {"right": 0.4, "seen": 0.5, "ratio": 0.8, "n": 10},
    },
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "regiontext.json").write_text(json.dumps(ABOUT))
    (tmp_path / "config.json").write_text(json.dumps({"vision_config": {"image_size": 96}}))
    return tmp_path


def test_figures_reach_both_files(folder, tmp_path):
    figures = tmp_path / "figures.json"
    figures.write_text(json.dumps(TOLD))
    main([str(folder), str(figures)])
    readme = (folder / "README.md").read_text()
    for line in (
        "| full caption, every word right | 0.500 | 30 |",
        "| shape, choices | 0.250 | 30 |",
        "| mark | arrow | 0.750 | 4 |",
        "| mark moved | 0.100 | 0.800 | 10 |",
        "| mark removed | 0.200 | 0.500 | 10 |",
        "By chance, 0.125 of the captions",
        "0.400 of 10 captions are right",
        "colour `teal`",
        "a CLIP vision transformer for 96 px",
    ):
        assert line in readme
    assert "from the weights of `older`" in readme and "Stopped once." in readme
    assert "code of commit abc1234" in readme
    assert (
        "`python -m model_server.training.pretrain --out DIR --minutes 10.0 --start older`"
        in readme
    )
    assert "mark marked" not in readme and "size, choices" not in readme
    about = json.loads((folder / "regiontext.json").read_text())
    assert about["card"]["evaluation"]["claims"] == {"caption_exact": 0.5}
    assert about["card"]["evaluation"]["right"]["choice/shape"] == 0.25


def test_a_model_trained_from_scratch_says_so(folder):
    about = ABOUT | {"card": ABOUT["card"] | {"training": {"minutes": 1, "steps": 2}}}
    (folder / "regiontext.json").write_text(json.dumps(about))
    write_card(folder, TOLD | {"controls": {}})
    readme = (folder / "README.md").read_text()
    assert (
        "from scratch" in readme
        and "Marked with a number" not in readme
        and "By chance" not in readme
    )


DOCS = Path(__file__).parents[3] / "docs" / "bundled-model.md"


@pytest.mark.parametrize("page", [BUNDLED / "README.md", DOCS], ids=["card", "docs"])
def test_the_command_that_made_the_bundled_weights_has_every_setting_of_its_card(page):
    said = page.read_text(encoding="utf-8").replace("\\\n", " ")
    line = next(
        each for each in said.splitlines() if "training.pretrain" in each and "--start" in each
    )
    # Behind the command stands a remark, or the end of the code.
    words = line.split("training.pretrain")[1].split("#")[0].strip("` ").split()
    given = {
        name.removeprefix("--").replace("-", "_"): value
        for name, value in zip(words[::2], words[1::2], strict=True)
    }
    assert given.pop("out") == "DIR" and given.pop("start")
    card = json.loads((BUNDLED / "regiontext.json").read_text())["card"]["training"]
    changed = {
        name: card[name]
        for name, value in asdict(Settings()).items()
        if name not in ("start", "steps") and card[name] != value
    }
    assert {name: float(value) for name, value in given.items()} == changed
