"""How well a model answers about scenes that it was not trained on: `python -m model_server.training.evaluate`.

The quick look between training runs, without a server; `model_server.regionbench` is the benchmark. Answers are greedy
and must match exactly; closed questions are answered by the option with the highest likelihood.
Prints a table and, as its last line, one JSON object. Knows nothing of training.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from model_server.regionbench.items import HELD_OUT_SEED
from model_server.scoring import score_whole
from model_server.worlds.samples import Turn, examples
from regiontext.marks.view import View

__all__ = ["answer_closed", "answer_open", "evaluate", "main"]

Pictures = Sequence[Image.Image]


def evaluate(
    folder: Path, *, n: int, seed: int = HELD_OUT_SEED, batch: int = 16
) -> dict[str, float]:
    """Return the share of right answers by what was asked, over `n` rendered views of held-out scenes.

    Keys: "caption", "attribute/colour", "choice/material", "relation", "sentence" and so on, and "sentence/words" and
    "caption/words", the share of right words in place.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    about = json.loads((folder / "regiontext.json").read_text())
    view = View.from_dict(about["view"])
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    opened: list[tuple[Pictures, Turn]] = []
    closed: list[tuple[Pictures, Turn]] = []
    for example in islice(examples(seed, view, training=False), n):
        for turn in example.turns:
            (closed if turn.options else opened).append((example.images, turn))
    right: dict[str, list[float]] = defaultdict(list)
    for start in range(0, len(opened), batch):
        part = opened[start : start + batch]
        for (_, turn), said in zip(part, answer_open(model, processor, part), strict=True):
            right[_key(turn)].append(said == turn.answer)
            if turn.kind in ("caption", "sentence"):
                pairs = zip(turn.answer.split(), said.split(), strict=False)
                hits = sum(a == b for a, b in pairs)
                right[turn.kind + "/words"].append(hits / len(turn.answer.split()))
    for images, turn in closed:
        right[_key(turn)].append(answer_closed(model, processor, images, turn) == turn.answer)
    return {key: sum(values) / len(values) for key, values in sorted(right.items())}


@torch.inference_mode()
def answer_open(model: Any, processor: Any, asked: Sequence[tuple[Pictures, Turn]]) -> list[str]:
    """Return the greedy answers to (pictures, turn) pairs, as one batch."""
    inputs = _inputs(processor, [_chat(images, turn.prompt) for images, turn in asked])
    out = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    answers = out[:, inputs["input_ids"].shape[1] :]
    return [t.strip() for t in processor.batch_decode(answers, skip_special_tokens=True)]


def answer_closed(model: Any, processor: Any, images: Pictures, turn: Turn) -> str:
    """Return the option with the highest likelihood, its end token included."""
    tokenizer = processor.tokenizer
    options = [
        [*tokenizer(option, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        for option in turn.options
    ]
    inputs = _inputs(processor, [_chat(images, turn.prompt)] * len(options))
    likely = [sum(tokens) for tokens in score_whole(model, inputs, options)]
    return turn.options[likely.index(max(likely))]


def _inputs(processor: Any, chats: Sequence[list[dict[str, Any]]]) -> Any:
    """Left-padded prompts, one row per chat, ready for an answer."""
    return processor.apply_chat_template(
        chats,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )


def _chat(images: Pictures, text: str) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = [{"type": "image", "image": image} for image in images]
    return [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]


def _key(turn: Turn) -> str:
    return f"{turn.kind}/{turn.attribute}" if turn.attribute else turn.kind


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m model_server.training.evaluate", description=__doc__
    )
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--n", type=int, default=300, help="rendered views to ask about")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    figures = evaluate(options.model, n=options.n, seed=options.seed)
    for key, value in figures.items():
        print(f"{key:24} {value:.3f}")
    rounded = {key: round(value, 3) for key, value in figures.items()}
    print(json.dumps(rounded))


if __name__ == "__main__":
    main()
