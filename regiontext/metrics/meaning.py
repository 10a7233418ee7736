"""Whether an edit changes what a text says, or only how it says it.

A preference pair is worth learning from only where the meaning changed, so this has to be a rule that
anyone can check, and not another model. It reads English; knows nothing of where texts come from.

The rule. Two texts say the same if all of this is equal:

1. **content words**: which words occur, whatever their case, order, repetition or inflection (dog, dogs;
   wear, wears, wearing), without articles, copulas, "with", "has", "very", "seems", "in the image" and
   their like. A synonym is another word, and so a change.
2. **numbers**: which, and how often; 3 and three, 1,000 and 1000, 25 and twenty-five are the same.
3. **negation**: how often something is denied; not, n't, no, without, never, none are the same.
4. **spatial words**: which; "on the left side of" and "to the left of", below and under, next to and
   beside are the same, left and right are not. "in", "on" and "at" before a word of place are grammar.
5. **what belongs to what**: where both texts tell what a number, a "not", a colour or size, a word of
   place or a word in -ing is said of, it is the same: "red car, blue van" and "blue car, red van" have
   the same words and do not say the same; nor do "cat on mat" and "mat on cat". Words that only change
   places otherwise do not change the meaning: "red and white", "white and red".

Signs (+, %, $, pictographs) are words, other punctuation is nothing. A text in a script other than the
Latin one has no known small words: there, every change of its words or their order is a change. In
other languages of the Latin script, so is every change of an article.

What it cannot see: who does what to whom where only the order of the words tells ("dog bites man"), irony,
and that two different words mean the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from regiontext.metrics import lexicon
from regiontext.metrics.text import words

__all__ = ["Meaning", "meaning_changed", "meaning_of", "stem", "values_meaning_changed"]

_TOKEN = re.compile(
    r"(?:(?<![^\s(])[-\u2212])?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)"
    r"|(?:(?<![^\s(])[-\u2212])?\d+(?:\.\d+)?(?:st|nd|rd|th)?"
    r"|[^\W_]+|[^\w\s]"
)
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_SIGNS = frozenset("%#@&")
_SPATIAL = frozenset(lexicon.SPATIAL.values())
_NOT = "not"


@dataclass(frozen=True)
class Meaning:
    """What the rule compares. words: content words as stems. numbers: each with how often it occurs.
    negations: how many. places: spatial words. said_of: pairs (number, "not", attribute, spatial word or word
    in -ing; the stem it is said of)."""

    words: frozenset[str]
    numbers: tuple[tuple[str, int], ...]
    negations: int
    places: frozenset[str]
    said_of: frozenset[tuple[str, str]]


def meaning_changed(before: str, after: str, *, closed: bool = False) -> bool:
    """Whether `after` says something else than `before`, by the rule in this module's docstring.

    Symmetric, and false for equal texts. `closed=True`: both are the answer to a closed question, where every
    change but that of blanks around it is one of meaning.
    """
    if closed:
        return before.split() != after.split()
    if _foreign(before) or _foreign(after):
        return words(before) != words(after)
    one, two = meaning_of(before), meaning_of(after)
    if (one.words, one.numbers, one.negations, one.places) != (
        two.words,
        two.numbers,
        two.negations,
        two.places,
    ):
        return True
    here, there = dict(_grouped(one.said_of)), dict(_grouped(two.said_of))
    return any(here[word] != there[word] for word in here.keys() & there.keys())


def values_meaning_changed(before: Sequence[str], after: Sequence[str], *, closed: bool) -> bool:
    """The same for the entries of a field: an open field's are read one after the other, the choices of a closed
    one (`closed`) as a set."""
    if closed:
        return {" ".join(value.split()) for value in before} != {
            " ".join(value.split()) for value in after
        }
    return meaning_changed("\n".join(before), "\n".join(after))


def meaning_of(text: str) -> Meaning:
    """What the rule sees in an English text."""
    tokens = list(_numbered(_tokens(text)))
    places = [
        token if token in _SPATIAL and not _grammar(tokens, index) else ""
        for index, token in enumerate(tokens)
    ]
    numbers = Counter(token for token in tokens if _NUMBER.fullmatch(token))
    content = [
        stem(token)
        if not _NUMBER.fullmatch(token)
        and token != _NOT
        and token not in _SPATIAL
        and token not in lexicon.FILLERS
        else ""
        for token in tokens
    ]
    return Meaning(
        words=frozenset(word for word in content if word),
        numbers=tuple(sorted(numbers.items())),
        negations=tokens.count(_NOT),
        places=frozenset(place for place in places if place),
        said_of=frozenset(_said_of(tokens, content, places)),
    )


def stem(word: str) -> str:
    """An English word without its inflection: dogs, dog; wearing, wears, wear; ponies, pony.

    Lower case in and out. Rules of Harman's S stemmer (1991, "How effective is suffixing?", table 1), then -ing and
    -ed where what is left is a word with a vowel, a doubled consonant halved and a final e dropped.
    """
    word = lexicon.SPELLINGS.get(word, word)
    if len(word) > 4 and word.endswith("ies") and word[-4] not in "ae":
        word = word[:-3] + "y"
    elif len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes", "zes")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and word[-2] not in "us":
        word = word[:-1]
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) > 2 and re.search("[aeiouy]", rest):
            word = rest[:-1] if rest[-1] == rest[-2] and rest[-1] not in "lsz" else rest
            break
    word = lexicon.SPELLINGS.get(word, word)
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def _foreign(text: str) -> bool:
    """Whether a letter of another script than the Latin one occurs."""
    return not text.isascii() and any(
        character.isalpha() and not unicodedata.name(character, "LATIN").startswith("LATIN")
        for character in unicodedata.normalize("NFKC", text)
    )


def _tokens(text: str) -> list[str]:
    """Lower case, contractions and phrases resolved, one spelling for what means the same."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    text = re.sub(r"\b(ca|wo|sha)n't\b", " not ", text)
    text = re.sub(r"n't\b", " not ", text)
    text = re.sub(r"(?<=\w)'(s|re|ve|ll|d|m)\b", " ", text)
    found = [
        token
        for token in _TOKEN.findall(text)
        if (token[0].isalnum() or _sign(token)) and token not in lexicon.ARTICLES
    ]
    line = f" {' '.join(found)} "
    for frame in lexicon.FRAMES:
        line = line.replace(f" {frame} ", " ")
    for phrase, one in lexicon.PHRASES.items():
        line = line.replace(f" {phrase} ", f" {one} ")
    return [_canonical(token) for token in line.split()]


def _sign(token: str) -> bool:
    if token[0] in "-\u2212" and len(token) > 1:
        return True
    return token in _SIGNS or unicodedata.category(token[0]).startswith("S")


def _canonical(token: str) -> str:
    token = lexicon.SPELLINGS.get(token, token)
    if token in lexicon.NEGATIONS:
        return _NOT
    if token == "&":
        return "and"
    if token in lexicon.ORDINALS:
        return lexicon.ORDINALS[token]
    if ordinal := _ORDINAL.fullmatch(token):
        return f"{ordinal[1]}th"
    number = token.replace("\u2212", "-").replace(",", "")
    if _NUMBER.fullmatch(number):
        return number.rstrip("0").rstrip(".") if "." in number else number
    return lexicon.SPATIAL.get(token, token)


def _numbered(tokens: Sequence[str]) -> Iterator[str]:
    """The tokens, with numbers in words as digits: two hundred and twenty five, 225."""
    index = 0
    while index < len(tokens):
        length, value = _spelt(tokens[index:])
        if length:
            yield str(value)
        else:
            yield tokens[index]
        index += length or 1


def _spelt(tokens: Sequence[str]) -> tuple[int, int]:
    """How many tokens from the first on are one number in words, and its value; (0, 0) if none."""
    done = part = index = 0
    room = (
        100  # what follows within this part must be smaller: after "twenty" 10, after "hundred" 100
    )
    for index, token in enumerate([*tokens, ""]):
        small, scale = lexicon.NUMBERS.get(token), lexicon.SCALES.get(token)
        if small is not None and (index == 0 or 0 < small < room):
            part += small
            room = 10 if small >= 20 else 1
        elif scale is not None and scale < 1000 and part < 100 and (index == 0 or part):
            part, room = (part or 1) * scale, 100
        elif scale is not None and scale >= 1000 and not done % scale and (index == 0 or part):
            done, part, room = done + (part or 1) * scale, 0, 100
        elif not (token == "and" and room == 100 and index and _small(tokens, index + 1)):
            break
    return (index, done + part) if index else (0, 0)


def _small(tokens: Sequence[str], index: int) -> bool:
    return index < len(tokens) and tokens[index] in lexicon.NUMBERS


def _grammar(tokens: Sequence[str], index: int) -> bool:
    """Whether "in", "on" or "at" stands before a word of place (or "at" before anything but one)."""
    if tokens[index] not in ("in", "on", "at"):
        return False
    return index + 1 < len(tokens) and tokens[index + 1] in lexicon.PLACES


def _binds(token: str, place: str) -> bool:
    return bool(
        place
        or token == _NOT
        or _NUMBER.fullmatch(token)
        or token in lexicon.ATTRIBUTES
        or (token.endswith("ing") and len(token) > 4)
    )


def _said_of(
    tokens: Sequence[str], content: Sequence[str], places: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """What each binding word is said of: the next content word that is no attribute, or, for an attribute after
    a copula, the last one before."""
    heads = [
        word if word and tokens[index] not in lexicon.ATTRIBUTES else ""
        for index, word in enumerate(content)
    ]
    for index, token in enumerate(tokens):
        if not _binds(token, places[index]):
            continue
        attribute = token in lexicon.ATTRIBUTES
        if attribute and _after_copula(tokens, index):
            near = next((word for word in reversed(heads[:index]) if word), None)
        elif token == _NOT:
            near = next((word for word in content[index + 1 :] if word), None)
        else:
            near = next((word for word in heads[index + 1 :] if word), None)
        if near is not None:
            yield (stem(token), near)


def _after_copula(tokens: Sequence[str], index: int) -> bool:
    """Whether a copula stands before, with nothing between but "not", small words and other attributes."""
    for token in reversed(tokens[:index]):
        if token in lexicon.COPULAS:
            return True
        if token not in lexicon.ATTRIBUTES and token not in (
            "and",
            "very",
            "quite",
            "rather",
            _NOT,
        ):
            return False
    return False


def _grouped(pairs: frozenset[tuple[str, str]]) -> Iterator[tuple[str, frozenset[str]]]:
    for word in {word for word, _ in pairs}:
        yield word, frozenset(near for other, near in pairs if other == word)
