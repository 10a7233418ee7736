"""Forms of answers: what may come next, and what a form that cannot be used is told."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from model_server.architectures.tokenizer import train_tokenizer
from model_server.errors import RequestError
from model_server.grammars import Grammars, json_grammar, regex_grammar
from tests.model_server.conftest import TEXTS, WORDS

SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "sure": {"type": "boolean"}},
    "required": ["colour", "sure"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, vocabulary=384, words=WORDS)


def walk(tokenizer: PreTrainedTokenizerFast, grammar: str, seed: int) -> str:
    """A text that picks any allowed token, until it is complete."""
    constraint = Grammars(tokenizer, [tokenizer.eos_token_id]).constraint(grammar)
    generator = torch.Generator().manual_seed(seed)
    ids: list[int] = []
    for _ in range(200):
        allowed = constraint.allowed().nonzero()[:, 0]
        ids.append(int(allowed[torch.randint(len(allowed), (1,), generator=generator)]))
        if constraint.accept(ids[-1]):
            return tokenizer.decode(ids, skip_special_tokens=True)
    raise AssertionError("never complete")


@pytest.mark.parametrize("seed", range(5))
def test_any_walk_is_json_of_the_schema(tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    said = json.loads(walk(tokenizer, json_grammar(SCHEMA, param="x"), seed))
    assert set(said) == {"colour", "sure"}
    assert said["colour"] in {"red", "blue"} and isinstance(said["sure"], bool)


@pytest.mark.parametrize("seed", range(5))
def test_any_walk_is_text_of_the_regex(tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    said = walk(tokenizer, regex_grammar("a (small|large) star", param="x"), seed)
    assert said in {"a small star", "a large star"}


def test_without_a_form_everything_goes(tokenizer: PreTrainedTokenizerFast) -> None:
    assert Grammars(tokenizer, [0]).constraint(None) is None


def test_without_the_library_the_field_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(RequestError, match="llguidance") as refused:
        json_grammar(SCHEMA, param="response_format")
    assert (refused.value.param, refused.value.status) == ("response_format", 400)
