"""The rule that tells an edit of what is said from one of how it is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.metrics import lexicon
from regiontext.metrics.meaning import meaning_changed, meaning_of, stem, values_meaning_changed

SAME = [
    ("A red car.", "a red car"),
    ("a red car", "the red car!"),
    ("the car is red", "a red car"),
    ("it seems to be a red car", "red car"),
    ("red and white dog", "white and red dog"),
    ("a red car and a blue van", "a blue van and a red car"),
    ("a dog on the left side of the car", "a dog to the left of the car"),
    ("left of the cat is a dog", "a dog is left of the cat"),
    ("a cat under the table", "a cat below the table"),
    ("in front of the house", "at the front of the house"),
    ("at the top left", "in the top left"),
    ("the dog isn\u2019t wet", "the dog is not wet"),
    ("without a hat", "with no hat"),
    ("3 dogs", "three dogs"),
    ("1,000 birds", "a thousand birds"),
    ("twenty-five men", "25 men"),
    ("two hundred and five", "205"),
    ("2.50 m", "2.5 m"),
    ("the second car", "the 2nd car"),
    ("a man wearing a hat", "a man wears a hat"),
    ("two children", "2 child"),
    ("a grey car", "a gray car"),
    ("a dog in the image", "a dog"),
    ("cafe\u0301", "caf\u00e9"),
    ("STOP!", "stop"),
    ("\u72d7\u3002", "\u72d7"),
    ("", "."),
]

CHANGED = [
    ("a red car", "a blue car"),
    ("a dog", "a big dog"),
    ("a dog", ""),
    ("a large dog", "a big dog"),
    ("two dogs", "three dogs"),
    ("2 dogs", "dogs"),
    ("2.5 m", "25 m"),
    ("5", "-5"),
    ("5", "5 %"),
    ("007", "7"),
    ("7", "7th"),
    ("the dog is wet", "the dog is not wet"),
    ("with a hat", "without a hat"),
    ("neither red nor blue", "red not blue"),
    ("left of the car", "right of the car"),
    ("a cat in the box", "a cat on the box"),
    ("a cat on the mat", "a mat on the cat"),
    ("the car is left of the van", "the van is left of the car"),
    ("a red car, a blue van", "a blue car, a red van"),
    ("the car is red and the van is blue", "the car is blue and the van is red"),
    ("two dogs and three cats", "three dogs and two cats"),
    ("not red but big", "red but not big"),
    ("a man holding a child", "a child holding a man"),
    ("he sits", "she sits"),
    ("+", "-"),
    ("\u72d7", "\u732b"),
    ("\u4eba\u54ac\u72d7", "\u72d7\u54ac\u4eba"),
    ("\u043d\u0435 \u0434\u043e\u043c", "\u0434\u043e\u043c \u043d\u0435"),
    ("size M", "size S"),
]


@pytest.mark.parametrize(("before", "after"), SAME)
def test_another_wording_says_the_same(before: str, after: str) -> None:
    assert not meaning_changed(before, after), (meaning_of(before), meaning_of(after))
    assert not meaning_changed(after, before)


@pytest.mark.parametrize(("before", "after"), CHANGED)
def test_another_content_number_negation_or_place_is_a_change(before: str, after: str) -> None:
    assert meaning_changed(before, after), meaning_of(before)
    assert meaning_changed(after, before)


_WORDS = st.sampled_from(
    [
        "dog",
        "cat",
        "car",
        "red",
        "blue",
        "big",
        "two",
        "3",
        "three",
        "twenty",
        "hundred",
        "first",
        "not",
        "without",
        "left",
        "right",
        "of",
        "under",
        "in",
        "on",
        "top",
        "corner",
        "wearing",
        "wears",
        "holding",
        "house",
        "houses",
        "and",
        "or",
        "is",
        "seems",
        "with",
        "front",
        "next",
        "to",
        "image",
        "1,000",
        "%",
        "no",
    ]
)
_LISTS = st.lists(_WORDS, max_size=8)


@given(_LISTS, _LISTS)
def test_it_is_symmetric(one: list[str], two: list[str]) -> None:
    assert meaning_changed(" ".join(one), " ".join(two)) == meaning_changed(
        " ".join(two), " ".join(one)
    )


@given(st.text(max_size=40))
def test_a_text_never_differs_from_itself_or_its_other_case(text: str) -> None:
    assert not meaning_changed(text, text)
    assert not meaning_changed(text, f"  {text}\n")


@given(
    st.lists(st.tuples(_WORDS, st.booleans(), st.sampled_from(["", ",", ".", ";", "!", "?", '"'])))
)
def test_articles_case_and_punctuation_say_nothing(parts: list[tuple[str, bool, str]]) -> None:
    plain = " ".join(word for word, _, _ in parts)
    decorated = " ".join(
        f"{'The ' if article else ''}{word.title() if article else word}{sign}"
        for word, article, sign in parts
    )
    assert not meaning_changed(plain, decorated)


@given(_LISTS, st.sampled_from(["penguin", "4711", "not", "behind"]))
def test_a_word_that_says_something_is_a_change_wherever_it_comes(
    words: list[str], more: str
) -> None:
    for place in range(len(words) + 1):
        changed = [*words[:place], more, *words[place:]]
        assert meaning_changed(" ".join(words), " ".join(changed))


def test_a_closed_answer_changes_with_any_letter() -> None:
    assert meaning_changed("The dog", "the dog", closed=True)
    assert not meaning_changed("the  dog ", "the dog", closed=True)
    assert values_meaning_changed(["wet"], ["Wet"], closed=True)
    assert values_meaning_changed(["wet"], ["wet", "old"], closed=True)
    assert not values_meaning_changed(["wet", "old"], ["old", "wet"], closed=True)


def test_the_entries_of_an_open_field_are_one_text() -> None:
    assert not values_meaning_changed(["a red car", "two dogs"], ["Red car. 2 dogs"], closed=False)
    assert values_meaning_changed(["a red car"], ["a red car", "two dogs"], closed=False)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("dogs", "dog"),
        ("buses", "bus"),
        ("glasses", "glass"),
        ("glass", "glass"),
        ("bus", "bus"),
        ("ponies", "pony"),
        ("running", "run"),
        ("stopped", "stop"),
        ("telling", "tell"),
        ("red", "red"),
        ("bring", "bring"),
        ("women", "woman"),
    ],
)
def test_stems(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_the_forms_of_a_word_have_one_stem() -> None:
    for forms in ("ride rides riding", "house houses", "hold holds holding held", "box boxes"):
        assert len({stem(form) for form in forms.split()}) == 1, forms


def test_the_tables_do_not_contradict_each_other() -> None:
    spatial = set(lexicon.SPATIAL.values())
    assert not spatial & lexicon.FILLERS
    assert not lexicon.ATTRIBUTES & (spatial | lexicon.FILLERS | lexicon.NEGATIONS)
    assert spatial >= lexicon.PLACES
    assert all(lexicon.SPATIAL.get(one, one) == one for one in spatial)
