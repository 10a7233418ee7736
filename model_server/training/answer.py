"""What a trained adapter says without any server: `python -m model_server.training.answer`.

The same questions are answered twice by plain transformers and peft: with the adapter loaded beside the base, and with
it merged into the base. Whoever serves the adapter compares its own answers with both. Knows nothing of scores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from model_server.training.evaluate import answer_closed
from model_server.worlds.turns import Turn

__all__ = ["answer", "main"]


def answer(
    base: str, adapter: Path, folder: Path, questions: Sequence[Mapping[str, Any]]
) -> list[dict[str, str]]:
    """The answers to the questions, in order: {"loaded", "merged"}.

    A question has `images` (file names in `folder`), `prompt`, `options` (empty for an open one) and `max_tokens`.
    Greedy, float32. Raises OSError for a missing model, adapter or picture.
    """
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(base)
    plain = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32).eval()
    beside = PeftModel.from_pretrained(plain, str(adapter)).eval()
    # peft puts its layers into the base model itself, which keeps its own methods that way.
    loaded = [_one(beside.base_model.model, processor, folder, q) for q in questions]
    merged = beside.merge_and_unload().eval()
    whole = [_one(merged, processor, folder, q) for q in questions]
    return [{"loaded": a, "merged": b} for a, b in zip(loaded, whole, strict=True)]


@torch.inference_mode()
def _one(model: Any, processor: Any, folder: Path, question: Mapping[str, Any]) -> str:
    images = [Image.open(folder / name).convert("RGB") for name in question["images"]]
    options = tuple(question["options"])
    if options:
        turn = Turn(question["prompt"], "", options, "choice")
        return answer_closed(model, processor, images, turn)
    content = [{"type": "image", "image": image} for image in images]
    chat = [{"role": "user", "content": [*content, {"type": "text", "text": question["prompt"]}]}]
    inputs = processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    out = model.generate(**inputs, max_new_tokens=int(question["max_tokens"]), do_sample=False)
    said = processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return str(said[0]).strip()


def main(argv: Sequence[str] | None = None) -> None:
    """Read `questions.jsonl` of a folder, write `answers.json` beside it."""
    parser = argparse.ArgumentParser(
        prog="python -m model_server.training.answer", description=__doc__
    )
    parser.add_argument("--base", required=True, help="model folder or hub id")
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True, help="folder with questions.jsonl")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    lines = (options.questions / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    answers = answer(
        options.base, options.adapter, options.questions, [json.loads(line) for line in lines]
    )
    text = json.dumps(answers, ensure_ascii=False, indent=1)
    (options.questions / "answers.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
