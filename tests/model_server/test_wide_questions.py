"""Closed questions with very many options: asked alone, and refused where one pass could not hold them."""

from __future__ import annotations

from collections import deque

import pytest

from model_server.batches import Job, take_batch
from model_server.errors import RequestError
from model_server.families import packed as packed_module
from model_server.families.packed import PackedModel
from tests.model_server.answering import ask, prompt
from tests.model_server.conftest import TEXTS

pytestmark = pytest.mark.model

FEW = ("red", "green")
MANY = tuple(f"a thing with the number {number}" for number in range(200))


def test_a_question_with_very_many_options_is_asked_alone(packed: PackedModel) -> None:
    few, many, other = (Job(prompt(TEXTS[0], 0, options)) for options in (FEW, MANY, MANY))
    for job in (few, many, other):
        job.ready = packed.prepare(job.prompt)
    assert packed.group(few) is packed.group(Job(prompt(TEXTS[0]))) is None
    assert len({None, packed.group(many), packed.group(other)}) == 3
    queue = deque([many, few, other, Job(prompt(TEXTS[0]))])
    batches = [take_batch(queue, 16, packed.group) for _ in range(3)]
    assert [len(batch) for batch in batches] == [1, 2, 1] and not queue


def test_its_options_are_scored_as_among_few(packed: PackedModel) -> None:
    (all_of_them,) = ask(packed, prompt(TEXTS[0], 0, MANY))
    (some,) = ask(packed, prompt(TEXTS[0], 0, MANY[:2]))
    assert all_of_them.options and some.options
    first, second = (all_of_them.options[option] for option in MANY[:2])
    assert first / second == pytest.approx(some.options[MANY[0]] / some.options[MANY[1]], rel=1e-2)


def test_more_than_one_pass_takes_is_refused_before_its_turn(
    packed: PackedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_module, "_WIDEST", 100)
    with pytest.raises(RequestError, match=r"200 options have .* at most 100") as raised:
        packed.prepare(prompt(TEXTS[0], 0, MANY))
    assert raised.value.param == "structured_outputs.choice"
    assert raised.value.status == 400
