"""What is told while an answer is made: the same text and the same tokens as of the whole answer, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.batches import Job
from model_server.decoding import Picked
from model_server.families.overlay import OverlayModel
from model_server.families.packed import PackedModel
from model_server.jobs import Answer, Prompt, Sampling
from model_server.protocol.schemas import ChatRequest
from model_server.streaming import _Choice
from tests.model_server.answering import Served, prompt
from tests.model_server.conftest import TEXTS

pytestmark = pytest.mark.model
ENVELOPE = {"id": "x", "model": "tiny", "created": 1}


class Told:
    """Collects the events of one answer."""

    def __init__(self) -> None:
        asked = ChatRequest(model="tiny", messages=[{}], logprobs=True, stream=True)
        self._writer = _Choice(0, asked, ENVELOPE)
        self.texts: list[str] = []
        self.tokens: list[list[int]] = []

    def __call__(self, token: object, text: str) -> None:
        event = self._writer.grown(token, text)
        self._read([event] if event else [])

    def end(self, answer: Answer) -> None:
        self._read(self._writer.ended(answer))

    def _read(self, events: Sequence[str]) -> None:
        for event in events:
            choice = json.loads(event.removeprefix("data: "))["choices"][0]
            self.texts.append(choice["delta"].get("content", ""))
            if choice["logprobs"]:
                self.tokens += [[*t["bytes"], t["logprob"]] for t in choice["logprobs"]["content"]]


def said(
    model: Served, ids: Sequence[int], stop: tuple[str, ...]
) -> tuple[Told, Answer, list[str]]:
    """What is told of an answer of these tokens, the answer, and the texts that were told before it ended."""
    told = Told()
    job = Job(Prompt([], [], sampling=Sampling(stop=stop)), on_token=told)
    row = model._writer.row(job, length=1, room=99)
    for number, id in enumerate(ids):
        row.tokens.append(Picked(id, -0.1 * number))
        if id in model._writer.ends or row.picked(row):
            break
    row.ended(row)
    early = list(told.texts)
    answer = job.future.result(0)
    told.end(answer)
    return told, answer, early


def check(told: Told, answer: Answer) -> None:
    assert "".join(told.texts) == answer.text
    assert told.tokens == [[*token.data, token.logprob] for token in answer.tokens]


def ids(model: Served, text: str) -> list[int]:
    return model._processor.tokenizer(text, add_special_tokens=False)["input_ids"]


def test_the_end_of_the_turn_is_told(packed: PackedModel) -> None:
    told, answer, _ = said(packed, [*ids(packed, "a red star"), packed._writer.ends[0]], ())
    check(told, answer)
    assert bytes(told.tokens[-1][:-1]) == b"<|end|>"


def test_half_a_character_is_a_token_and_no_text(packed: PackedModel) -> None:
    told, answer, _ = said(packed, ids(packed, "a \u2603 star"), ())
    check(told, answer)
    assert answer.text == "a \u2603 star" and not any("\ufffd" in text for text in told.texts)


def test_the_beginning_of_a_stop_text_is_held_back(packed: PackedModel) -> None:
    told, answer, early = said(packed, ids(packed, "a medium star"), ("dium ",))
    check(told, answer)
    assert answer.text == "a me" == "".join(early)
    told, answer, early = said(packed, ids(packed, "a medium"), ("dium ", "x"))
    check(told, answer)
    assert answer.text == "a medium" and "".join(early) == "a me"  # the rest when it was none
    told, answer, early = said(packed, ids(packed, "a medium star, blue"), ("dium,",))
    check(told, answer)
    assert "".join(early) == "a medium star, blue"  # and before the end when something else follows


@settings(deadline=None)  # a busy machine is no slow code
@given(
    text=st.text("ab \n\u00fc\u2603", max_size=12),
    stop=st.lists(st.text("ab \n\u00fc", min_size=1, max_size=4), max_size=2),
)
def test_any_stream_is_the_answer(packed: PackedModel, text: str, stop: list[str]) -> None:
    told, answer, early = said(packed, ids(packed, text), tuple(stop))
    check(told, answer)
    assert answer.text.startswith("".join(early))


@pytest.mark.parametrize("options", [(), ("red", "a small red star")])
def test_a_model_streams_what_it_says(
    packed: PackedModel, general: OverlayModel, options: tuple[str, ...]
) -> None:
    for model in (packed, general):
        for stop in ((), ("e", " s"), ("a",)):
            hot = {"temperature": 1.5, "seed": 3, "max_tokens": 12, "top_logprobs": 2}
            told = Told()
            job = Job(prompt(TEXTS[0], 1, options, stop=stop, **hot), on_token=told)
            model.answer([job])
            told.end(job.future.result(0))
            check(told, job.future.result(0))
