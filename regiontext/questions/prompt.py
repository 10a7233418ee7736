"""The text sent to the model: the question with the marks' phrases in place, the evidence, the
options.

Knows nothing of how the picture was rendered or which model reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from regiontext.errors import QuestionError
from regiontext.questions.question import PLACES, Question

__all__ = ["CHOOSE", "ORDER", "Shown", "prompt"]

CHOOSE: Final = "Choose one: {options}."

ORDER: Final = ("question", "evidence", "options")
"""The parts of a prompt, the first one first; part of every hash of what was asked."""


class Shown(Protocol):
    """What a prompt needs of a rendered view: a phrase per region, in the question's order, and
    evidence or "".
    """

    @property
    def phrases(self) -> tuple[str, ...]:
        """One phrase per region."""
        ...

    @property
    def evidence(self) -> str:
        """The evidence line, or ""."""
        ...


def prompt(question: Question, rendered: Shown) -> str:
    """The words of `question` about what `rendered` shows, on one line: question, evidence, then
    the options.

    QuestionError when the number of phrases is not the number of regions that the wording names.
    """
    places = PLACES[1] if question.pair else PLACES[0]
    if len(rendered.phrases) != len(places):
        raise QuestionError(
            f"the question {question.wording!r} names {len(places)} region(s) and the view shows "
            f"{len(rendered.phrases)}; render exactly the question's regions, in its order"
        )
    text = _filled(question.wording, dict(zip(places, rendered.phrases, strict=True)))
    parts = {"question": text, "evidence": rendered.evidence}
    if question.options:
        parts["options"] = CHOOSE.replace("{options}", _listed(question.options))
    return " ".join(parts[name] for name in ORDER if parts.get(name))


def _filled(wording: str, phrases: dict[str, str]) -> str:
    for place, phrase in phrases.items():
        wording = wording.replace(place, phrase)
    return wording


def _listed(options: Sequence[str]) -> str:
    return ", ".join(options)
