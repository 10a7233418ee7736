"""What can be asked about two objects of the world, and the right answers.

Where and how large they are follows from the geometry of their regions, by regiontext.evidence.spatial; what they
share follows from their words. Knows nothing of pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from model_server.worlds.asking import YES_NO, Asked
from regiontext.questions.question import Question
from regiontext.questions.wordings import NO_RELATION, PARAPHRASES, worded
from regiontext.relations import SPATIAL

__all__ = ["PLACES", "SAME", "compared", "pair_yes_no", "relation", "relation_sentence", "shared"]

SAME: tuple[str, ...] = ("same colour as", "same material as", "same shape as")
PLACES: tuple[str, ...] = tuple(p for p in SPATIAL if not p.endswith("than"))
_COMPARED = (*SAME, *(p for p in SPATIAL if p.endswith("than")))


def shared(subject: Mapping[str, str], target: Mapping[str, str]) -> tuple[str, ...]:
    """Which of `SAME` hold of two objects with these words."""
    return tuple(said for said in SAME if subject[said.split()[1]] == target[said.split()[1]])


def compared() -> tuple[str, ...]:
    """The relations that compare two objects rather than place them: `SAME`, larger and smaller."""
    return _COMPARED


def relation(
    rng: np.random.Generator,
    holds: Sequence[str],
    *,
    among: Sequence[str] = SPATIAL,
    kind: str = "relation",
    plain: bool = False,
) -> Asked:
    """Ask how two regions are related, among a few predicates of which one holds at most, and "no relation".

    `holds`: all that is true of the first towards the second; `among`: the predicates that may be offered.
    """
    true = [predicate for predicate in among if predicate in holds]
    false = [predicate for predicate in among if predicate not in holds]
    rng.shuffle(false)
    options = false[: int(rng.integers(1, 6))]
    answer = NO_RELATION
    if true and rng.random() < 0.8:
        answer = str(true[int(rng.integers(len(true)))])
        options.append(answer)
    if rng.random() < 0.5:
        rng.shuffle(options)
    else:
        options = [predicate for predicate in among if predicate in options]
    text = _wording(rng, "relation", plain)
    question = Question("relations", "closed", text, (*options, NO_RELATION), ("a", "b"))
    return Asked(question, answer, kind)


def pair_yes_no(
    rng: np.random.Generator, holds: Sequence[str], *, among: Sequence[str], kind: str
) -> Asked:
    """Ask whether one predicate holds of the first region towards the second; as often yes as no if both can be."""
    true = [predicate for predicate in among if predicate in holds]
    false = [predicate for predicate in among if predicate not in holds]
    some = true if not false or (true and rng.random() < 0.5) else false
    told = str(some[int(rng.integers(len(some)))])
    article = "the " if told.startswith("same") else ""
    text = f"Is the object {{subject}} {article}{told} the object {{object}}?"
    answer = YES_NO[0] if told in holds else YES_NO[1]
    return Asked(Question("relations", "closed", text, YES_NO, ("a", "b")), answer, kind)


def relation_sentence(
    rng: np.random.Generator,
    subject: Mapping[str, str],
    target: Mapping[str, str],
    holds: Sequence[str],
    *,
    plain: bool = False,
) -> Asked:
    """Ask for a sentence: "the red star is left of the blue cube", with the first predicate that holds."""
    told = holds[0] if holds else "next to"
    answer = (
        f"the {subject['colour']} {subject['shape']} is {told} "
        f"the {target['colour']} {target['shape']}"
    )
    text = _wording(rng, "relation sentence", plain)
    return Asked(Question("relation", "open", text, (), ("a", "b")), answer, "sentence")


def _wording(rng: np.random.Generator, key: str, plain: bool) -> str:
    if plain or rng.random() < 0.55:
        return worded(key)
    choices = PARAPHRASES[key]
    return choices[int(rng.integers(len(choices)))]
