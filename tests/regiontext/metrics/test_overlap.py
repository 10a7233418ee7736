"""Overlap of texts, against numbers of the libraries that papers use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontext.metrics.overlap import (
    bleu,
    chrf,
    corpus_bleu,
    corpus_chrf,
    rouge_l,
    semantic_overlap,
)
from tests.regiontext.metrics.test_cider import PREDICTIONS, REFERENCES

# rouge-score 0.1.2, RougeScorer(["rougeL"]).score(reference, prediction), the best reference.
ROUGE_L = [0.9230769231, 0.7692307692, 0.6666666667, 0.4761904762, 0.4, 0.5]


def test_rouge_l_has_the_numbers_of_rouge_score() -> None:
    found = [rouge_l(said, texts) for said, texts in zip(PREDICTIONS, REFERENCES, strict=True)]
    assert found == pytest.approx(ROUGE_L, abs=1e-9)
    assert rouge_l("", ["a"]) == rouge_l("a", ["!"]) == 0


def test_bleu_and_chrf_are_sacrebleus_in_a_scale_of_one() -> None:
    # sacrebleu 2.6, lower case.
    assert corpus_bleu(PREDICTIONS, REFERENCES) == pytest.approx(0.21093760, abs=1e-6)
    assert corpus_chrf(PREDICTIONS, REFERENCES) == pytest.approx(0.46684571, abs=1e-6)
    assert bleu(PREDICTIONS[0], REFERENCES[0]) == pytest.approx(0.42728701, abs=1e-6)
    assert chrf(PREDICTIONS[0], REFERENCES[0]) == pytest.approx(0.76556617, abs=1e-6)
    assert bleu("A red car", ["a red car"]) == pytest.approx(1) == chrf("A red car", ["a red car"])


def test_semantic_overlap_sees_through_inflection_and_small_words() -> None:
    assert semantic_overlap("the dogs are running", "a dog runs") == 1
    assert semantic_overlap("a red car", "a blue car") == pytest.approx(1 / 3)
    assert semantic_overlap("left of the car", "right of the car") == pytest.approx(1 / 3)
    assert semantic_overlap("two dogs", "three dogs") == pytest.approx(1 / 3)
    assert semantic_overlap("it is", "it is") == 1
    assert semantic_overlap("", "a car") == 0


_TEXTS = st.lists(
    st.sampled_from(["a", "red", "dogs", "dog", "not", "left", "of", "3", "three", "!", "+"]),
    max_size=6,
).map(" ".join)


@given(_TEXTS, _TEXTS)
def test_semantic_overlap_is_symmetric_and_within_one(one: str, two: str) -> None:
    value = semantic_overlap(one, two)
    assert value == semantic_overlap(two, one)
    assert 0 <= value <= 1
    assert semantic_overlap(one, one) == 1
