from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.questions.sentences import composed_sentence


@pytest.mark.parametrize(
    ("subject", "relation", "object", "sentence"),
    [
        ("a red star", "left of", "An orange ring", "The red star is left of the orange ring."),
        ("the man", "holds", "a cup.", "The man holds the cup."),
        ("a cat", "is on", "a mat", "The cat is on the mat."),
        ("a shop", "across from", "a park", "The shop is across from the park."),
        ("a dog. It sleeps.", "larger than", "cats\nand more", "The dog is larger than the cats."),
        ("", "left of", "a ring", ""),
        ("a star", " ", "a ring", ""),
        ("a", "left of", "a ring", ""),
    ],
)
def test_sentence(subject: str, relation: str, object: str, sentence: str) -> None:
    assert composed_sentence(subject, relation, object) == sentence


@given(st.text(), st.text(), st.text())
def test_any_text_gives_one_line_or_nothing(subject: str, relation: str, object: str) -> None:
    sentence = composed_sentence(subject, relation, object)
    assert sentence == "" or (len(sentence.splitlines()) == 1 and sentence.endswith("."))
