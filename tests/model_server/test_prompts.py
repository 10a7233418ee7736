"""What is remembered of prompts: scaled pictures within their bounds, and how options are cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL.Image import Image

from model_server.families.chat import answer_ids, end_tokens, prompt_text, question_turn
from model_server.families.checkpoint import load_checkpoint
from model_server.families.prompts import Prompts
from model_server.folder import find_model
from model_server.jobs import Picture, Prompt
from tests.model_server.conftest import TEXTS, picture

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def parts(tiny_folder: Path) -> tuple:
    model, processor = load_checkpoint(find_model(tiny_folder), device="cpu")
    return processor, end_tokens(model, processor)


def ask(image: int, options: tuple[str, ...] = (), text: str = TEXTS[0]) -> Prompt:
    return Prompt(question_turn(1, text), [Picture.of(picture(image))], options)


def counted(prompts: Prompts, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts before pictures that were decoded and scaled from now on."""
    made: list[str] = []
    plain = prompts._encoded

    def encoded(text: str, images: list[Image]) -> object:
        made.append(text)
        return plain(text, images)

    monkeypatch.setattr(prompts, "_encoded", encoded)
    return made


def test_scaled_pictures_are_kept_within_bounds(
    parts: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = Prompts(*parts)
    size = prompts.prepare(ask(0)).prefix.nbytes
    prompts = Prompts(*parts, max_bytes=3 * size)
    made = counted(prompts, monkeypatch)
    for image in (0, 1, 2, 0, 3):
        prompts.prepare(ask(image))
    assert len(made) == 4
    kept = [future.result().nbytes for future in prompts._seen.values()]
    assert kept == [size] * 3 and prompts._size == 3 * size
    prompts.prepare(ask(0))  # asked for again meanwhile, so it was not the oldest
    assert len(made) == 4
    tight = Prompts(*parts, max_bytes=1)
    for image in (0, 1):
        tight.prepare(ask(image))
    assert len(tight._seen) == 1  # the newest stays, however large it is


def test_options_are_cut_as_behind_the_whole_prompt(
    parts: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor, ends = parts
    prompts = Prompts(processor, ends)
    cut = []

    def counted(*args: object) -> list[int]:
        cut.append(args[2])
        return answer_ids(*args)

    monkeypatch.setattr("model_server.families.prompts.answer_ids", counted)
    options = ("red", "a small red star", "marble ünïcode")
    for text in (TEXTS[0], TEXTS[1], "red"):
        asked = ask(0, options, text)
        before = prompt_text(processor, asked.messages)
        known = processor.tokenizer(before, add_special_tokens=False)["input_ids"]
        for option, ids in zip(options, prompts.prepare(asked).options, strict=True):
            joint = processor.tokenizer(f"{before}{option}<|end|>", add_special_tokens=False)
            assert joint["input_ids"] == [*known, *ids]
    assert sorted(cut) == sorted(options)  # each once: a special token ends the prompt


def test_without_special_tokens_more_of_the_prompt_counts(parts: tuple) -> None:
    prompts = Prompts(*parts)
    assert prompts._tail("a<|user|>b<|assistant|>") == "<|assistant|>"
    assert prompts._tail("<|user|>red") == "<|user|>red"
    assert prompts._tail("x" * 100) == "x" * 64
    prompts._boundary = None
    assert prompts._tail("a<|assistant|>") == "a<|assistant|>"


def test_a_prompt_is_made_the_same_the_first_and_the_second_time(parts: tuple) -> None:
    prompts = Prompts(*parts)
    assert prompts._pixels is not None
    prompts.prepare(ask(1))  # from here on the words before a picture are known
    known, fresh = prompts.prepare(ask(0)).prefix, Prompts(*parts).prepare(ask(0)).prefix
    assert (known.key, known.ids) == (fresh.key, fresh.ids)
    assert known.inputs.keys() == fresh.inputs.keys() == {"pixel_values"}
    assert torch.equal(known.inputs["pixel_values"], fresh.inputs["pixel_values"])
    two = Prompt(question_turn(2, "a"), [Picture.of(picture(n)) for n in (0, 1)])
    made = [prompts.prepare(two).prefix, Prompts(*parts).prepare(two).prefix]
    prompts._seen.clear()
    made.append(prompts.prepare(two).prefix)
    for prefix in made:
        assert prefix.ids == made[0].ids
        assert torch.equal(prefix.inputs["pixel_values"], made[0].inputs["pixel_values"])
