"""How text names a mark: "within the red rectangle", "at the lime point".

Knows nothing of where the mark is. The prepositions of the eight ViP-LLaVA kinds are that paper's.
"""

from __future__ import annotations

from regiontext.marks.kinds import NOUNS, PREPOSITIONS
from regiontext.marks.layout import Mark
from regiontext.marks.style import Style

__all__ = ["phrase"]


def phrase(mark: Mark | Style) -> str:
    """The words that name `mark`, to follow "the object"; without the colour when the colour has no
    name.
    """
    style = mark.style if isinstance(mark, Mark) else mark
    words = [PREPOSITIONS[style.kind], "the", style.colour or "", NOUNS[style.kind]]
    return " ".join(word for word in words if word)
