"""How questions are worded: one default each, and the paraphrases that training draws from.

Only text: knows nothing of labeling configs, regions or marks. Wordings hold {mark}, or {subject}
and {object}, where the phrases of the marks go ("within the red rectangle"), and {name} for the
field's name.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from regiontext.errors import QuestionError

__all__ = [
    "NO_RELATION",
    "PARAPHRASES",
    "WORDINGS",
    "paraphrase",
    "spoken",
    "with_mark",
    "with_pair",
    "worded",
]

NO_RELATION: Final = "no relation"

WORDINGS: Final[dict[str, str]] = {
    "caption": "Describe the object {mark}.",
    "attribute": "What is the {name} of the object {mark}?",
    "number": "What is the {name} of the object {mark}? Answer with a number.",
    "is": "Is the object {mark} {name}?",
    "has": "Does the object {mark} have {name}?",
    "relation": "How is the object {subject} related to the object {object}?",
    "relation sentence": "Describe how the object {subject} relates to the object {object}.",
}

PARAPHRASES: Final[dict[str, tuple[str, ...]]] = {
    "caption": (
        WORDINGS["caption"],
        "What is the object {mark}?",
        "Give a short caption of the object {mark}.",
        "Write a phrase that describes the object {mark}.",
        "What can be seen {mark}?",
        "Caption the region {mark}.",
    ),
    "attribute": (
        WORDINGS["attribute"],
        "Name the {name} of the object {mark}.",
        "Which {name} does the object {mark} have?",
        "Tell the {name} of the thing {mark}.",
        "The object {mark}: what is its {name}?",
        "{name} of the object {mark}?",
    ),
    "number": (
        WORDINGS["number"],
        "Give the {name} of the object {mark} as a number.",
        "As a number: what is the {name} of the object {mark}?",
    ),
    "is": (
        WORDINGS["is"],
        "Would you say that the object {mark} is {name}?",
        "{name}: is the object {mark}?",
    ),
    "has": (
        WORDINGS["has"],
        "Is there {name} on the object {mark}?",
        "{name}: does the object {mark} have it?",
    ),
    "relation": (
        WORDINGS["relation"],
        "What is the relation of the object {subject} to the object {object}?",
        "Where is the object {subject} with respect to the object {object}?",
        "The object {subject} is what to the object {object}?",
        "Name the relation from the object {subject} to the object {object}.",
    ),
    "relation sentence": (
        WORDINGS["relation sentence"],
        "In one sentence, how does the object {subject} relate to the object {object}?",
        "Write a sentence about the object {subject} and the object {object}.",
        "Say how the object {subject} stands to the object {object}.",
    ),
}


def worded(key: str, name: str = "") -> str:
    """The default wording of `key` (one of WORDINGS) for a field called `name`; QuestionError if
    unknown.
    """
    if key not in WORDINGS:
        raise QuestionError(f"no wording called {key!r}; known are {', '.join(WORDINGS)}")
    return WORDINGS[key].replace("{name}", spoken(name))


def paraphrase(key: str, rng: np.random.Generator, name: str = "") -> str:
    """One of the wordings of `key` (default included), uniformly; QuestionError if unknown."""
    if key not in PARAPHRASES:
        raise QuestionError(f"no wordings called {key!r}; known are {', '.join(PARAPHRASES)}")
    choices = PARAPHRASES[key]
    text = choices[int(rng.integers(len(choices)))].replace("{name}", spoken(name))
    return text[:1].upper() + text[1:]


def spoken(name: str) -> str:
    """A field's name as words: "surface_finish" and "surfaceFinish" become "surface finish"."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return " ".join(re.split(r"[\s_\-.]+", parts)).strip().lower()


def with_mark(wording: str) -> str:
    """`wording` with {mark}, put before its last punctuation if it lacks one."""
    return wording.strip() if "{mark}" in wording else _at_end(wording, "{mark}")


def with_pair(wording: str) -> str:
    """`wording` with {subject} and {object}, named in a sentence at the end if it lacks either."""
    if "{subject}" in wording and "{object}" in wording:
        return wording.strip()
    return f"{wording.strip()} The subject is {{subject}}, the object is {{object}}."


def _at_end(wording: str, place: str) -> str:
    text = wording.strip()
    end = re.search(r"[\s?!.:…]*\Z", text)
    cut = end.start() if end else len(text)
    return f"{text[:cut]} {place}{text[cut:].strip()}".strip()
