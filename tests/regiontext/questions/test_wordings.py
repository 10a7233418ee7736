from __future__ import annotations

import numpy as np
import pytest

from regiontext.errors import QuestionError
from regiontext.questions.wordings import (
    PARAPHRASES,
    WORDINGS,
    paraphrase,
    spoken,
    with_mark,
    with_pair,
    worded,
)


@pytest.mark.parametrize("key", WORDINGS)
def test_every_wording_has_paraphrases_with_the_same_places(key: str) -> None:
    assert PARAPHRASES[key][0] == WORDINGS[key]
    assert len(set(PARAPHRASES[key])) == len(PARAPHRASES[key]) >= 3
    for text in PARAPHRASES[key]:
        for place in ("{mark}", "{subject}", "{object}", "{name}"):
            assert text.count(place) == WORDINGS[key].count(place), text


@pytest.mark.parametrize("key", WORDINGS)
def test_paraphrases_are_all_drawn_and_begin_with_a_capital(key: str) -> None:
    rng = np.random.default_rng(0)
    drawn = {paraphrase(key, rng, "surface_finish") for _ in range(200)}
    assert len(drawn) == len(PARAPHRASES[key])
    assert all(text[0].isupper() and "{name}" not in text for text in drawn)


def test_unknown_wordings_are_refused() -> None:
    with pytest.raises(QuestionError, match=r"riddle.*caption"):
        worded("riddle")
    with pytest.raises(QuestionError, match=r"riddle.*caption"):
        paraphrase("riddle", np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("surface_finish", "surface finish"),
        ("surfaceFinish", "surface finish"),
        ("Material", "material"),
        ("colour-of.paint", "colour of paint"),
        ("__x__", "x"),
    ],
)
def test_names_are_spoken_as_words(name: str, words: str) -> None:
    assert spoken(name) == words


@pytest.mark.parametrize(
    ("ask", "wording"),
    [
        ("What damage is there?", "What damage is there {mark}?"),
        ("Describe the damage.", "Describe the damage {mark}."),
        ("Damage", "Damage {mark}"),
        ("Which part is {mark} here?", "Which part is {mark} here?"),
        ("  Really ?! ", "Really {mark}?!"),
    ],
)
def test_the_mark_goes_before_the_last_punctuation(ask: str, wording: str) -> None:
    assert with_mark(ask) == wording


def test_a_pair_wording_names_both() -> None:
    whole = "What does {subject} do to {object}?"
    assert with_pair(whole) == whole
    added = with_pair("What happens?")
    assert added == "What happens? The subject is {subject}, the object is {object}."
