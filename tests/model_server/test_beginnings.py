"""Questions about one picture that begin alike: their common words are read once, and no answer shows it."""

from __future__ import annotations

import pytest

from model_server.families.chat import question_turn
from model_server.families.packed import PackedModel
from model_server.jobs import Prompt
from model_server.packing import alike
from tests.model_server.answering import ask, prompt
from tests.model_server.conftest import TEXTS

pytestmark = pytest.mark.model
EVIDENCE = "The region covers 4 % of the image, at the left."
ASKED = [f"{EVIDENCE} {text}" for text in TEXTS]
OPTIONS = ("red", "a small red star", "blue")


@pytest.fixture
def run(packed: PackedModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each pass of the decoder reads."""
    packed.forget()
    read: list[int] = []
    plain = packed._run

    def counted(x: object, layout: object, *rest: object) -> object:
        read.append(len(layout.ids))  # type: ignore[attr-defined]
        return plain(x, layout, *rest)

    monkeypatch.setattr(packed, "_run", counted)
    return read


def length(packed: PackedModel, text: str) -> int:
    """Tokens of a question behind its picture."""
    return len(packed.prepare(prompt(text)).ids)


@pytest.mark.parametrize("options", [(), OPTIONS])
def test_together_they_are_read_with_the_picture(
    packed: PackedModel, run: list[int], options: tuple[str, ...]
) -> None:
    asked = [prompt(text, 1, options) for text in ASKED]
    alone = []
    for one in asked:
        packed.forget()
        alone += ask(packed, one)
    packed.forget()
    run.clear()
    together = ask(packed, *asked)
    # The first is read whole but for its last token, of the others what differs from it.
    first, *others = (packed.prepare(one) for one in asked)
    rest = 1 + sum(len(own.ids) - alike(first.ids, own.ids) for own in others)
    branches = sum(len(ids) - 1 for own in (first, *others) for ids in own.options)
    assert all(alike(first.ids, own.ids) >= length(packed, EVIDENCE) - 4 for own in others)
    assert run[1] == rest + branches
    for one, other in zip(alone, together, strict=True):
        assert (one.text, one.prompt_tokens) == (other.text, other.prompt_tokens)
        assert one.options == pytest.approx(other.options, abs=1e-4)
        for a, b in zip(one.tokens, other.tokens, strict=True):
            assert (a.id, a.logprob) == (b.id, pytest.approx(b.logprob, abs=1e-3))


def test_one_after_the_other_the_first_ones_are_kept(packed: PackedModel, run: list[int]) -> None:
    first, second = (prompt(text, 2) for text in ASKED[:2])
    (alone,) = ask(packed, second)
    packed.forget()
    ask(packed, first)
    run.clear()
    (after,) = ask(packed, second)
    assert len(run) == 1 and run[0] <= length(packed, ASKED[1]) - length(packed, EVIDENCE) + 4
    assert after.text == alone.text
    run.clear()
    (again,) = ask(packed, first)  # the last token at least is run, since it says what comes next
    assert run == [1] and again.text


def test_the_shorter_question_may_be_the_beginning_of_the_longer(packed: PackedModel) -> None:
    short, long = prompt("a red", 3), prompt("a red red red", 3)
    alone = []
    for one in (short, long):
        packed.forget()
        alone += ask(packed, one)
    for order in ((short, long), (long, short)):
        packed.forget()
        told = {
            asked: answer.text for asked, answer in zip(order, ask(packed, *order), strict=True)
        }
        assert [told[short], told[long]] == [answer.text for answer in alone]


def test_words_that_are_known_beside_a_question_without_a_picture(packed: PackedModel) -> None:
    asked = [prompt(ASKED[0], 5), prompt(ASKED[1], 5), Prompt(question_turn(0, TEXTS[0]), [])]
    alone = []
    for one in asked:
        packed.forget()
        alone += ask(packed, one)
    packed.forget()
    ask(packed, asked[0])
    assert [answer.text for answer in ask(packed, *asked)] == [answer.text for answer in alone]
