"""How text names a mark: "within the red rectangle", "at the lime point", "marked by the number 3".

Knows nothing of where the mark is. The prepositions of the eight ViP-LLaVA kinds are that paper's.
"""

from __future__ import annotations

from regiontext.marks.kinds import NOUNS, NUMBER, PREPOSITIONS
from regiontext.marks.layout import Mark
from regiontext.marks.style import Style

__all__ = ["phrase"]


def phrase(mark: Mark | Style) -> str:
    """The words that name `mark`, to follow "the object".

    The colour is left out when it has no name, and of a number, which needs none to be found.
    """
    style = mark.style if isinstance(mark, Mark) else mark
    if style.kind == NUMBER:
        return f"{PREPOSITIONS[NUMBER]} the {NOUNS[NUMBER]} {style.number}"
    words = [PREPOSITIONS[style.kind], "the", style.colour or "", NOUNS[style.kind]]
    return " ".join(word for word in words if word)
