"""A relation between two regions as a sentence, put together from what is known of each.

For models that answer a closed question about a pair well but cannot phrase the pair by themselves. Knows nothing of
models: it is given two captions and the relation's name.
"""

from __future__ import annotations

__all__ = ["composed_sentence"]

# End in "s" and are no verbs: "is across", not "across".
_NO_VERBS = frozenset({"across", "besides", "towards", "versus"})
_ARTICLES = frozenset({"a", "an", "the"})


def composed_sentence(subject: str, relation: str, object: str) -> str:
    """Return "The red star is left of the blue ring." for "a red star", "left of", "a blue ring".

    A relation whose first word is a verb in the third person ("holds", "stands on") takes no "is". Only the first line
    of a caption is used; "" if a caption or the relation is empty.
    """
    one, other, named = _definite(subject), _definite(object), " ".join(relation.split())
    if not (one and other and named):
        return ""
    verb = named.split()[0].casefold()
    has_verb = verb in ("is", "has") or (verb.endswith("s") and verb not in _NO_VERBS)
    sentence = f"{one} {named} {other}" if has_verb else f"{one} is {named} {other}"
    return f"{sentence[0].upper()}{sentence[1:]}."


def _definite(caption: str) -> str:
    """The caption as a noun phrase with "the"; a caption of several sentences is cut after the first."""
    lines = caption.strip().splitlines()
    words = lines[0].split(". ")[0].rstrip(" .").split() if lines else []
    if words and words[0].casefold() in _ARTICLES:
        words = words[1:]
    return f"the {' '.join(words)}" if words else ""
