"""The answers without a server are those of the server's own way to run adapters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from model_server.training.answer import main
from tests.model_server.conftest import TEXTS


def test_loaded_and_merged_say_the_same_and_not_what_the_base_says(
    tiny_folder: Path, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    questions = tmp_path / "questions"
    questions.mkdir()
    Image.new("RGB", (56, 56), "red").save(questions / "a.png")
    about = {"images": ["a.png"], "prompt": TEXTS[0], "options": [], "max_tokens": 6}
    lines = [json.dumps(about), json.dumps(about | {"options": ["red", "a blue star"]})]
    (questions / "questions.jsonl").write_text("\n".join(lines) + "\n")
    said = []
    for seed in (1, 2):
        adapter = make_adapter(tmp_path / f"{seed}", seed=seed)
        argv = ["--base", str(tiny_folder), "--adapter", str(adapter)]
        main([*argv, "--questions", str(questions)])
        said.append(json.loads((questions / "answers.json").read_text()))
    for answers in said:
        assert len(answers) == 2
        assert all(one["loaded"] == one["merged"] for one in answers)
        assert answers[1]["loaded"] in ("red", "a blue star")
    assert said[0][0] != said[1][0]
