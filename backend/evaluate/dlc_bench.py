"""DLC-Bench: how much of a region a detailed description tells, and how much it makes up; no reference text.

Lian et al. 2025, "Describe Anything" (arXiv 2504.16072, section 5); the folder is
https://huggingface.co/datasets/nvidia/DLC-Bench:

    annotations.json    COCO: 100 masks on 77 pictures of Objects365
    images/
    qa.json             {"ANNOTATION": [{"question", "choices": [["text", score], …], "type": "positive" | "negative"}]}
    class_names.json    {"ANNOTATION": "what it is"}

The model describes each masked region; a language model that sees the description but no picture picks one choice of
each question. First it is asked whether the description fits the class at all: if not, no question about that region
earns more than 0. An answer that picks nothing earns 0 ("not mentioned"). Positive questions ask about what is there,
negative ones about what is not. The figures are the means over regions of each region's mean, and of both.

The judge's words here are ours. For figures to put beside published ones, give the evaluator's own prompt.

Pure but for reading the folder. Knows nothing of who asks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.evaluate.errors import WrongFolder
from backend.evaluate.folder import Published
from regiontext.coco import coco_to_mask
from regiontext.metrics.two_samples import Average, average
from regiontext.region import Region

__all__ = [
    "PROMPT",
    "DlcItem",
    "DlcQuestion",
    "chosen",
    "figures",
    "judge_words",
    "read_dlc_bench",
    "region_of",
]

_FILES = ("annotations.json", "qa.json", "class_names.json")
_PUBLISHED = Published("DLC-Bench", "https://huggingface.co/datasets/nvidia/DLC-Bench")
_LETTERS = "ABCDEFGHIJ"

PROMPT = """Below are a description of an object in a picture that you cannot see, and a question about the object. \
Pick the choice that follows best from the description alone; it need not use the same words. Answer with one choice \
and nothing else: no reasons, no correction, no repetition of the question.

Description:
{caption}

Question:
{question}
"""


@dataclass(frozen=True)
class DlcQuestion:
    """A question with its choices and what each earns; "recognition" ones earn 1 for a fitting class, else 0."""

    kind: str
    question: str
    choices: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class DlcItem:
    """One region. `segmentation` as in COCO; `questions` begin with the one about recognition."""

    id: str
    image: Path
    segmentation: Any
    questions: tuple[DlcQuestion, ...]


def read_dlc_bench(folder: Path) -> list[DlcItem]:
    """The regions that have questions, in their order. Raises WrongFolder with what is missing or odd."""
    annotations, asked, names = (_PUBLISHED.read(folder, name) for name in _FILES)
    try:
        files = {image["id"]: str(image["file_name"]) for image in annotations["images"]}
        regions = {str(entry["id"]): entry for entry in annotations["annotations"]}
        items = [
            DlcItem(
                id=id,
                image=folder / "images" / files[regions[id]["image_id"]],
                segmentation=regions[id]["segmentation"],
                questions=(_recognition(str(names[id])), *map(_question, questions)),
            )
            for id, questions in asked.items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"{' '.join(_FILES)} do not fit together ({type(error).__name__}: {error})"
        raise _PUBLISHED.not_whole(folder, why) from error
    _PUBLISHED.check_pictures(folder, (item.image for item in items))
    if not items:
        raise WrongFolder(f"{folder / 'qa.json'} asks nothing; {_PUBLISHED.where}")
    return items


def _question(entry: Any) -> DlcQuestion:
    if entry["type"] not in ("positive", "negative"):
        raise ValueError(f"a question of type {entry['type']!r}")
    choices = tuple((str(text), float(score)) for text, score in entry["choices"])
    if not 1 < len(choices) <= len(_LETTERS):
        raise ValueError(f"a question with {len(choices)} choices")
    return DlcQuestion(entry["type"], str(entry["question"]), choices)


def _recognition(name: str) -> DlcQuestion:
    several = re.search(r"(?<![suia])s$", name.lower()) is not None and name.lower() != "bus"
    article = "" if several else "an " if name[:1].lower() in "aeiou" else "a "
    what = f"objects that are {name} or similar" if several else f"{article}{name} or similar"
    return DlcQuestion(
        "recognition",
        f"Could what is described be {what}? It need not match exactly.",
        (("Yes", 1.0), ("No", 0.0)),
    )


def region_of(item: DlcItem, size: tuple[int, int]) -> Region:
    """The item's region on its picture of `size` (W, H). Raises WrongFolder for a mask that does not fit."""
    from pycocotools import mask as coco

    width, height = size
    code = item.segmentation
    try:
        if isinstance(code, list):
            code = coco.merge(coco.frPyObjects(code, height, width))
        if [int(side) for side in code["size"]] != [height, width]:
            raise ValueError(f"its size is {code['size']}, the picture's {[height, width]}")
        return Region.from_mask(item.id, coco_to_mask(code))
    except (ValueError, TypeError, KeyError) as error:
        raise WrongFolder(f"the mask of annotation {item.id} is unusable: {error}") from error


def judge_words(question: DlcQuestion, said: str, *, prompt: str = PROMPT) -> str:
    """What the judge is asked. The prompt's places are {caption} and {question}, or the published evaluator's
    {pred_caption} and {question_text_str}."""
    lines = [
        question.question,
        *(f"{_LETTERS[place]}. {text}" for place, (text, _) in enumerate(question.choices)),
    ]
    places = {"caption": said, "pred_caption": said}
    places |= dict.fromkeys(("question", "question_text_str"), "\n".join(lines))
    return re.sub(
        r"\{(caption|pred_caption|question|question_text_str)\}", lambda m: places[m[1]], prompt
    )


def chosen(said: str, choices: Sequence[str]) -> int | None:
    """Which choice the judge picked: by its letter, its text, or the one text in its answer; None for none.

    Of several texts in an answer the last one counts (the longest, of those that begin there), as judges come to
    their point at the end.
    """
    answer = said.strip().strip("*\"'").strip().lower()
    texts = [choice.strip().lower() for choice in choices]
    letters = _LETTERS[: len(texts)].lower()
    bare = answer.rstrip(".")
    if bare in texts:
        return texts.index(bare)
    if answer in texts:
        return texts.index(answer)
    lettered = re.match(rf"\(?([{letters}])(?:[.):]|\)?$)\s*", answer)
    if lettered:
        return letters.index(lettered[1])
    spots = [
        (match.start(), len(text), place)
        for place, text in enumerate(texts)
        if text
        for match in re.finditer(rf"(?<!\w){re.escape(text)}(?!\w)", answer)
    ]
    if spots:
        # A choice within a longer one ("red" in "dark red") is not what was picked.
        free = [
            spot
            for spot in spots
            if not any(
                other[0] <= spot[0]
                and spot[0] + spot[1] <= other[0] + other[1]
                and other[1] > spot[1]
                for other in spots
            )
        ]
        return max(free)[2]
    within = [place for place, text in enumerate(texts) if bare and bare in text]
    return within[0] if len(within) == 1 else None


def figures(items: Sequence[DlcItem], picked: Sequence[Sequence[int | None]]) -> dict[str, Any]:
    """The benchmark's figures, -1..1 as published; `picked[i]` are the choices of item i's questions.

    "positive", "negative": {"value", "low", "high", "n"} over regions, of 95 %; "average" of both values; "recognised":
    share of regions. A region without negative questions counts for the positive ones only, and the other way round.
    """
    sides: dict[str, list[float]] = {"positive": [], "negative": []}
    recognised = []
    for item, choices in zip(items, picked, strict=True):
        scores = [
            (question.kind, 0.0 if place is None else question.choices[place][1])
            for question, place in zip(item.questions, choices, strict=True)
        ]
        fits = scores[0][1] > 0
        recognised.append(float(fits))
        for kind, found in sides.items():
            earned = [score if fits else min(0.0, score) for each, score in scores if each == kind]
            if earned:
                found.append(sum(earned) / len(earned))
    positive, negative = average(sides["positive"]), average(sides["negative"])
    values = [side.value for side in (positive, negative) if side is not None]
    return {
        "positive": _told(positive),
        "negative": _told(negative),
        "average": sum(values) / len(values) if values else None,
        "recognised": _told(average(recognised)),
        "n": len(items),
    }


def _told(figure: Average | None) -> dict[str, float] | None:
    if figure is None:
        return None
    return {"value": figure.value, "low": figure.low, "high": figure.high, "n": figure.n}
