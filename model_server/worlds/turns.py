"""The prompts and answers that go with one marked picture.

Knows nothing of pixels or of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model_server.worlds import asking, pairs, vocabulary
from model_server.worlds.scenes import Object
from regiontext.evidence import evidence_line, spatial
from regiontext.marks.view import Rendered
from regiontext.questions.prompt import prompt
from regiontext.region import Region

__all__ = ["PAIR_KINDS", "SINGLE_KINDS", "Turn", "pair_turns", "single_turns"]

SINGLE_KINDS: tuple[str, ...] = ("caption", "attribute", "choice", "yesno")
PAIR_KINDS: tuple[str, ...] = ("relation", "same", "sentence")


@dataclass(frozen=True)
class Turn:
    """One prompt and answer, with the kind of question (asking.KINDS or "spelling") and the attribute asked for.

    things: indices of the objects it is about; phrases: what names the mark of each in the prompt. named: the word that
    a yes-or-no question about an attribute asks for.
    """

    prompt: str
    answer: str
    options: tuple[str, ...]
    kind: str
    attribute: str = ""
    things: tuple[int, ...] = ()
    phrases: tuple[str, ...] = ()
    named: str = ""


def single_turns(
    rng: np.random.Generator,
    objects: Sequence[Object],
    target: int,
    shown: Rendered,
    kinds: Sequence[str],
    *,
    training: bool,
    whole: bool = False,
) -> tuple[Turn, ...]:
    """Ask about the one marked object, `objects[target]`; in training in varied wordings and not about everything.

    `whole`: the whole picture is shown, so that the object's size can be seen.
    """
    plain = not training
    words = objects[target].words
    asked: list[asking.Asked] = []
    if "caption" in kinds:
        asked.append(asking.caption(rng, words, plain=plain))
    for attribute in vocabulary.ATTRIBUTES:
        if "attribute" in kinds and (plain or rng.random() < 0.6):
            asked.append(asking.open_attribute(rng, words, attribute, plain=plain))
        if "choice" in kinds and (plain or rng.random() < 0.4):
            asked.append(asking.choice(rng, words, attribute, plain=plain))
        if "yesno" in kinds and (plain or rng.random() < 0.7):
            others = [getattr(thing, attribute) for thing in objects]
            asked.append(asking.yes_no(rng, words, attribute, others=others, plain=plain))
    bare = (0.3 if whole else 0.15) if training else 0.0
    return tuple(_turn(rng, each, shown, (target,), bare=bare, sized=whole) for each in asked)


def pair_turns(
    rng: np.random.Generator,
    objects: Sequence[Object],
    targets: Sequence[int],
    regions: Sequence[Region],
    shown: Rendered,
    kinds: Sequence[str],
    *,
    training: bool,
) -> tuple[Turn, ...]:
    """Ask how the first marked object relates to the second; in training also about either one by itself.

    A question about one of two marked objects is never asked in a session; it teaches which mark is which.
    """
    plain = not training
    first, second = (objects[index].words for index in targets)
    holds = (*spatial(regions[0], regions[1]), *pairs.shared(first, second))
    asked: list[asking.Asked] = []
    if "relation" in kinds:
        asked.append(pairs.relation(rng, holds, plain=plain))
        if training:
            asked.append(pairs.pair_yes_no(rng, holds, among=pairs.PLACES, kind="relation"))
    if "same" in kinds:
        # Something is larger far more often than something is the same.
        sets = (pairs.SAME, pairs.compared())
        for among in sets if training else (sets[int(rng.random() >= 0.5)],):
            asked.append(pairs.relation(rng, holds, among=among, kind="same", plain=plain))
            asked.append(pairs.pair_yes_no(rng, holds, among=among, kind="same"))
    if "sentence" in kinds:
        told = [predicate for predicate in holds if predicate not in pairs.SAME]
        asked.append(pairs.relation_sentence(rng, first, second, told, plain=plain))
    turns = [_turn(rng, each, shown, targets) for each in asked]
    for place in (0, 1, 0, 1) if training else ():
        words, attributes = objects[targets[place]].words, vocabulary.ATTRIBUTES[1:]
        attribute = attributes[int(rng.integers(len(attributes)))]
        alone = replace(
            shown,
            phrases=(shown.phrases[place],),
            evidence=evidence_line([regions[place]], regions[place].size) if shown.evidence else "",
        )
        if rng.random() < 0.5:
            turns.append(_turn(rng, asking.caption(rng, words), alone, (targets[place],)))
        else:
            one = asking.open_attribute(rng, words, attribute)
            turns.append(_turn(rng, one, alone, (targets[place],), bare=0.5))
    return tuple(turns)


def _turn(
    rng: np.random.Generator,
    asked: asking.Asked,
    shown: Rendered,
    things: Sequence[int],
    *,
    bare: float = 0.0,
    sized: bool = False,
) -> Turn:
    """The turn; with probability `bare` without the evidence, where the picture answers the question by itself.

    `sized`: the picture tells how large the object is.
    """
    needed = asked.attribute == "size" or asked.kind == "caption"
    if rng.random() < bare and (sized or not needed):
        shown = replace(shown, evidence="")
    text = prompt(asked.question, shown)
    return Turn(
        text,
        asked.answer,
        asked.question.options,
        asked.kind,
        asked.attribute,
        tuple(things),
        tuple(shown.phrases),
        asked.named,
    )
