"""What can be asked about one object of the world, and the right answers; pairs are asked about by `pairs`.

Questions are worded as the product words them, by regiontext.questions: the default wording at least half of the time,
else a paraphrase. Knows nothing of pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model_server.worlds import vocabulary
from regiontext.questions.question import Question
from regiontext.questions.wordings import PARAPHRASES, worded

__all__ = [
    "KINDS",
    "YES_NO",
    "Asked",
    "caption",
    "choice",
    "field_names",
    "open_attribute",
    "spelling",
    "yes_no",
]

# What is asked about one region, then what is asked about two.
KINDS: tuple[str, ...] = ("caption", "attribute", "choice", "yesno", "relation", "same", "sentence")

# What labeling configs may call a field that holds the attribute; the first is the world's own word.
_FIELD_NAMES: Mapping[str, tuple[str, ...]] = {
    "size": ("size",),
    "colour": ("colour", "color"),
    "material": ("material", "texture", "pattern"),
    "shape": ("shape", "form", "type"),
}

# How people ask when they word a field's question themselves.
_OWN_WORDS: Mapping[str, tuple[str, ...]] = {
    "size": ("How large is the object {mark}?", "How big is the object {mark}?"),
    "colour": ("What colour is the object {mark}?", "What color is it {mark}?"),
    "material": ("What is the object {mark} made of?", "What material is the object {mark}?"),
    "shape": ("What shape is the object {mark}?", "What kind of object is {mark}?"),
}

YES_NO: tuple[str, str] = ("yes", "no")

_SYLLABLES = (
    "ba", "be", "bo", "cre", "da", "dra", "e", "fi", "flo", "ga", "gri", "hu", "in", "ka", "la", "lo", "mar", "mi",
    "na", "no", "o", "pa", "que", "ri", "ro", "sa", "sto", "ta", "te", "ti", "tra", "u", "va", "ver", "wi", "xa", "yo",
    "ze", "al", "ble", "cent", "en", "er", "ish", "ling", "mond", "nt", "rt", "st", "tle", "th",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A question, its right answer and what it is about: one of `KINDS`, and the attribute if it is about one.

    named: the word of the attribute that a yes-or-no question asks for.
    """

    question: Question
    answer: str
    kind: str
    attribute: str = ""
    named: str = ""


def field_names() -> dict[str, tuple[str, ...]]:
    """The field names by attribute, for those who need every word that may be asked."""
    return dict(_FIELD_NAMES)


def caption(rng: np.random.Generator, words: Mapping[str, str], *, plain: bool = False) -> Asked:
    """Ask for the full caption of an object with these attributes; `plain` asks in the default wording."""
    text = _wording(rng, "caption", "", plain)
    return Asked(Question("caption", "open", text), vocabulary.caption(words), "caption")


def open_attribute(
    rng: np.random.Generator, words: Mapping[str, str], attribute: str, *, plain: bool = False
) -> Asked:
    """Ask for one attribute in free text."""
    text = _attribute_wording(rng, attribute, plain)
    return Asked(Question(attribute, "open", text), words[attribute], "attribute", attribute)


def choice(
    rng: np.random.Generator, words: Mapping[str, str], attribute: str, *, plain: bool = False
) -> Asked:
    """Ask for one attribute among options: every word of it, or a random few in random order.

    `plain` offers every word in the vocabulary's order.
    """
    options = list(vocabulary.values(attribute))
    if words[attribute] not in options:
        options.append(words[attribute])
    if not plain and rng.random() < 0.6:
        others = [word for word in options if word != words[attribute]]
        rng.shuffle(others)
        options = [words[attribute], *others[: int(rng.integers(1, min(7, len(others)) + 1))]]
        rng.shuffle(options)
    text = _attribute_wording(rng, attribute, plain)
    question = Question(attribute, "closed", text, tuple(options))
    return Asked(question, words[attribute], "choice", attribute)


def yes_no(
    rng: np.random.Generator,
    words: Mapping[str, str],
    attribute: str,
    *,
    others: Sequence[str] = (),
    plain: bool = False,
) -> Asked:
    """Ask whether the object is of one colour, material, shape or size; as often yes as no.

    `others`: words of the attribute that other objects of the scene have; half of the wrong words are among them.
    """
    told = words[attribute]
    if rng.random() < 0.5:
        wrong = [word for word in others if word != told] if rng.random() < 0.5 else []
        wrong = wrong or [word for word in vocabulary.values(attribute) if word != told]
        told = wrong[int(rng.integers(len(wrong)))]
    answer = YES_NO[0] if told == words[attribute] else YES_NO[1]
    name = vocabulary.with_article(told) if attribute == "shape" else told
    text = _wording(rng, "is", name, plain)
    question = Question(attribute, "closed", text, YES_NO)
    return Asked(question, answer, "yesno", attribute, named=told)


def spelling(rng: np.random.Generator) -> tuple[str, str]:
    """A (prompt, answer) that has a made-up word repeated, so that words nobody has taught can be spelt."""
    word = ""
    while not word or any(held in word for held in vocabulary.HELD_BACK.values()):
        word = "".join(str(s) for s in rng.choice(_SYLLABLES, size=int(rng.integers(1, 4))))
    return f"Repeat the word {word}.", word


def _wording(rng: np.random.Generator, key: str, name: str, plain: bool) -> str:
    if plain or rng.random() < 0.55:
        return worded(key, name)
    choices = PARAPHRASES[key]
    text = choices[int(rng.integers(len(choices)))].replace("{name}", name)
    return text[:1].upper() + text[1:]


def _attribute_wording(rng: np.random.Generator, attribute: str, plain: bool) -> str:
    if not plain and rng.random() < 0.1:
        own = _OWN_WORDS[attribute]
        return own[int(rng.integers(len(own)))]
    names = _FIELD_NAMES[attribute]
    name = names[0] if plain or rng.random() < 0.8 else str(rng.choice(names))
    return _wording(rng, "attribute", name, plain)
