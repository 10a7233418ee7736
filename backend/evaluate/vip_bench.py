"""ViP-Bench: questions about what is marked on 303 pictures, judged against a right answer by a language model.

Cai et al. 2024, "ViP-LLaVA" (arXiv 2312.00784, section 5); the folder is https://huggingface.co/datasets/mucai/ViP-Bench:

    vip-bench-meta-data.json         {"v1_0": {"question", "answer", "capability": ["rec", "ocr", …]}, …}
    bbox/questions.jsonl  images/    marked by tight rectangles: {"question_id": 0, "image", "text"} a line
    human/questions.jsonl  images/   the same questions, marked by hand in any way

The pictures are marked already, so they go to the model as they are. Scoring follows the published evaluator (after
MM-Vet): a table of examples ends with a row that lacks its correctness, the judge completes it with 0.0 to 1.0; five
tries with growing temperature, then 0; the score is 100 times the mean, overall and per capability, over `runs` runs.
One of its slips is not followed: its second try asks about the question with placeholders.

The table of examples here is ours. For figures to put beside published ones, give the evaluator's own prompt.

Pure but for reading the folder. Knows nothing of who asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend.evaluate.errors import WrongFolder
from backend.evaluate.folder import Published
from regiontext.metrics.two_samples import average

__all__ = [
    "PROMPT",
    "SPLITS",
    "TRIES",
    "VipItem",
    "figures",
    "judge_words",
    "read_vip_bench",
    "verdict",
]

SPLITS = ("bbox", "human")
TRIES = 5
_META = "vip-bench-meta-data.json"
_PUBLISHED = Published("ViP-Bench", "https://huggingface.co/datasets/mucai/ViP-Bench")

PROMPT = """You grade answers. Each row of the table below has a question about a picture, the ground truth, the \
prediction of an AI model, and how correct the prediction is: a number from 0.0 (totally wrong) over 0.1, 0.2, … to \
1.0 (totally right). Parts of the ground truth joined by <AND> must all be in the prediction for it to be totally \
right; of parts joined by <OR>, any one is enough. Complete the last row with its correctness and write nothing else.

Question | Ground truth | Prediction | Correctness
--- | --- | --- | ---
What animal is within the red rectangle? | dog <OR> puppy | It is a cat. | 0.0
What animal is within the red rectangle? | dog <OR> puppy | a small puppy | 1.0
Which two fruits are pointed to by the arrows? | apple <AND> banana | an apple and a pear | 0.5
Which two fruits are pointed to by the arrows? | apple <AND> banana | a banana and an apple | 1.0
How many wheels does the vehicle within the blue ellipse have? | 4 | It has three wheels. | 0.0
What does the sign within the yellow rectangle tell drivers to do? | Slow down, because children cross the street | \
It tells drivers to be careful. | 0.4
What does the sign within the yellow rectangle tell drivers to do? | Slow down, because children cross the street | \
Drivers should reduce their speed since there may be children crossing. | 1.0
"""


@dataclass(frozen=True)
class VipItem:
    """One question about one picture."""

    id: str
    image: Path
    question: str
    answer: str
    capabilities: tuple[str, ...]


def read_vip_bench(folder: Path, split: str) -> list[VipItem]:
    """The questions of a split, in the order of the metadata. Raises WrongFolder with what is missing or odd."""
    if split not in SPLITS:
        raise WrongFolder(f"ViP-Bench has no split {split!r}; it has {' and '.join(SPLITS)}")
    meta = _PUBLISHED.read(folder, _META)
    asked = _questions(folder / split / "questions.jsonl", folder)
    if not isinstance(meta, dict) or not meta:
        raise WrongFolder(f"{folder / _META} holds no items; {_PUBLISHED.where}")
    items = []
    for id, item in meta.items():
        try:
            line = asked[id]
            items.append(
                VipItem(
                    id=id,
                    image=folder / split / "images" / str(line["image"]),
                    question=str(line["text"]),
                    answer=str(item["answer"]),
                    capabilities=tuple(str(name) for name in item["capability"]),
                )
            )
        except (KeyError, TypeError) as error:
            why = f"item {id} lacks {error} in {_META} or in {split}/questions.jsonl"
            raise _PUBLISHED.not_whole(folder, why) from error
    _PUBLISHED.check_pictures(folder, (item.image for item in items))
    return items


def _questions(path: Path, folder: Path) -> dict[str, Mapping[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise _PUBLISHED.not_whole(folder, f"{path} cannot be read") from error
    found: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found[f"v1_{entry['question_id']}"] = entry
        except (ValueError, KeyError, TypeError) as error:
            raise WrongFolder(f"{path}, line {number}, is no question: {line[:80]!r}") from error
    return found


def judge_words(item: VipItem, said: str, *, prompt: str = PROMPT, again: bool = False) -> str:
    """What the judge is asked: the table with the item's row; `again` after an answer that was no number."""
    truth = item.answer.replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    row = " | ".join([item.question, truth, said, ""])
    more = "\nThe correctness of the last prediction, as a number only: " if again else ""
    return f"{prompt.rstrip()}\n{row}{more}"


def verdict(said: str) -> float | None:
    """The number that the judge begins with, 0..1; None if it begins with none such."""
    found = re.match(r"\s*([01](?:\.\d+)?|\.\d+)(?![\d.]*\d)", said)
    number = float(found[1]) if found else None
    return number if number is not None and 0 <= number <= 1 else None


def figures(items: Sequence[VipItem], grades: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The benchmark's figures, in percent with one decimal, as published; `grades[i]` are item i's, one per run.

    "total" and each of "capabilities" ({"score", "n"}; an item counts for each of its own), "combinations" of
    capabilities, "std" of the total over runs, "runs", and "interval": of 95 %, from resampling items.
    """
    table = np.array(grades, dtype=np.float64).reshape(len(items), -1)
    means = table.mean(axis=1)
    totals = 100 * table.mean(axis=0)
    spread = average([float(value) for value in 100 * means])
    names = sorted({name for item in items for name in item.capabilities})
    joined = ["+".join(sorted(set(item.capabilities))) for item in items]

    def told(places: list[int]) -> dict[str, float]:
        return {"score": round(100 * float(means[places].mean()), 1), "n": len(places)}

    return {
        "total": round(float(totals.mean()), 1),
        "interval": [round(spread.low, 1), round(spread.high, 1)] if spread else None,
        "std": round(float(totals.std()), 1),
        "runs": [round(float(total), 1) for total in totals],
        "n": len(items),
        "capabilities": {
            name: told([i for i, item in enumerate(items) if name in item.capabilities])
            for name in names
        },
        "combinations": {
            name: told([i for i, each in enumerate(joined) if each == name])
            for name in sorted(set(joined))
        },
    }
