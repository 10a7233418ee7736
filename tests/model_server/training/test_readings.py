"""What the decoder is told inside: it lies where phrases end, says what is there, and teaches."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from model_server.architectures import tokenizer as tokens  # noqa: E402
from model_server.architectures.tiny import build_model  # noqa: E402
from model_server.training.objective import DenseHeads, collate, losses  # noqa: E402
from model_server.training.packing import encode_turns  # noqa: E402
from model_server.training.readings import READ, Readouts, looking, place, readings  # noqa: E402
from model_server.training.settings import Settings  # noqa: E402
from model_server.training.stream import encode  # noqa: E402
from model_server.worlds import vocabulary  # noqa: E402
from tests.model_server.training.made import SHAPE, ids_of  # noqa: E402

pytestmark = pytest.mark.model


def test_readings_lie_where_phrases_end_and_tell_what_is_there(tokenizer, some):
    both = [example for example in some if len(example.targets) == 2]
    assert both
    for example in both:
        first, second = (example.objects[index].words for index in example.targets)
        same = [int(first[name] == second[name]) for name in READ]
        turn = next(turn for turn in example.turns if turn.kind == "same")
        found = readings(tokenizer, turn.prompt, turn.phrases, [first, second], [0, 1])
        ids = tokenizer(turn.prompt)["input_ids"]
        for row, phrase in zip(found[:2], turn.phrases, strict=True):
            assert tokenizer.decode(ids[: row[0] + 1]).endswith(phrase)
        words = [
            [vocabulary.values(name).index(thing[name]) for name in READ]
            for thing in (first, second)
        ]
        assert found[0, 1:].tolist() == [0, -1, *words[0], -100, -100, -100]
        assert found[1, 1:].tolist() == [1, found[0, 0], *words[1], *same]
        assert found[2].tolist() == [len(ids), -1, found[1, 0], -100, -100, -100, *same]


def test_of_one_object_the_token_that_answers_is_told_too(tokenizer):
    words = {"size": "small", "colour": "red", "material": "plastic", "shape": "star"}
    prompt = "Is the object in the box red?"
    found = readings(tokenizer, prompt, ("in the box",), [words], [1])
    assert found[0, 0] == len(tokenizer("Is the object in the box")["input_ids"]) - 1
    assert found[1, 0] == len(tokenizer(prompt)["input_ids"])
    assert (found[0, 1:] == found[1, 1:]).all() and found[0, 1:3].tolist() == [1, -1]
    assert readings(tokenizer, prompt, ("in the ring",), [words], [0]).shape == (0, 9)


def test_the_word_that_is_asked_for_is_told_whether_the_object_has_it(tokenizer):
    words = {"size": "small", "colour": "red", "material": "plastic", "shape": "star"}
    for prompt, word, has in (
        ("Is the object in the red box red? Choose one: yes, no.", "red", 1),
        ("Is the object in the red box blue? Choose one: yes, no.", "blue", 0),
        ("Red: is the object in the red box?", "red", 1),
    ):
        found = readings(
            tokenizer, prompt, ("in the red box",), [words], [0], named=("colour", word)
        )
        asked = tokenizer(prompt)["input_ids"]
        at, row, end = found[1, 0], found[1, 1:].tolist(), found[2].tolist()
        assert tokenizer.decode(asked[: at + 1]).lower().endswith(word)
        assert "box" in tokenizer.decode(asked[:at]) or at < 3
        assert row[:2] == [0, -1] and row[-3:] == [has, -100, -100]
        assert end == [len(asked), -1, at, -100, -100, -100, has, -100, -100]


def test_an_answer_that_says_what_is_shared_is_told_what_before_it_says_so(tokenizer):
    one = {"size": "small", "colour": "red", "material": "plastic", "shape": "star"}
    other = one | {"colour": "blue", "shape": "cube"}
    prompt = "How is the object in the box related to the object in the ring?"
    phrases = ("in the box", "in the ring")

    def told(answer):
        return readings(tokenizer, prompt, phrases, [one, other], [0, 1], answer=answer)

    assert len(told("larger than")) == len(told("no relation")) == len(told("")) == 3
    found = told("same material as")
    turn, _ = encode_turns(tokenizer, [(prompt, "same material as")])[0]
    assert tokenizer.decode(turn[: found[3, 0] + 1]).endswith("<|assistant|> same")
    assert tokenizer.decode(turn[found[3, 0] + 1 :]).strip().startswith("material")
    assert found[3, 1:].tolist() == found[2, 1:].tolist()


def test_readings_follow_their_turns_wherever_these_are_packed(tokenizer, some):
    rng = np.random.default_rng(3)
    items = [encode(example, tokenizer, SHAPE, rng) for example in some[:6]]
    batch = collate(items, SHAPE, rng, ids=ids_of(tokenizer), tokens=90)
    assert any(-1 in begins for begins in batch.texts.begins)
    told = batch.readings
    assert told.labels.shape == (len(told.rows), 2 * len(READ))
    # The second reading of a turn about one object is of the token before its answer.
    assistant = tokenizer.convert_tokens_to_ids(tokens.ASSISTANT)
    at = batch.texts.ids[told.rows, told.columns]
    assert 0 < int((at == assistant).sum()) < len(at)
    patches = torch.from_numpy(np.stack([item.seen.any(0) for item in items]))
    assert ((told.sees == 0) | patches[told.rows]).all()
    back = told.back >= 0
    assert told.answers[back].any() and not told.answers[back].all()
    assert (told.columns[back] > told.back[back]).all()
    kept = sum(begin >= 0 for begins in batch.texts.begins for begin in begins)
    spellings = sum(len(read) == 0 for item in items for read in item.told)
    assert kept - spellings <= int((at == assistant).sum()) <= kept


def test_turns_that_compare_can_be_given_what_room_there_is(tokenizer, some):
    items = [encode(example, tokenizer, SHAPE, np.random.default_rng(1)) for example in some[:12]]

    def kept(comparing):
        rng = np.random.default_rng(3)
        known = ids_of(tokenizer)
        batch = collate(items, SHAPE, rng, ids=known, tokens=100, comparing=comparing)
        # A turn that compares is told something of two in its last reading.
        told = batch.readings.labels[:, len(READ) :] != -100
        return int(told.any(1).sum())

    assert kept(1e6) > 1.5 * kept(1.0) > 0
    assert kept(1e-6) < kept(1.0)


def test_readouts_teach_the_decoder(tokenizer, some):
    torch.manual_seed(0)
    model = build_model(tokenizer, SHAPE)
    model.set_attn_implementation("eager")
    heads, readouts = DenseHeads(SHAPE.vision_width), Readouts(SHAPE.text_width)
    rng = np.random.default_rng(0)
    items = [encode(example, tokenizer, SHAPE, rng) for example in some[:8]]
    batch = collate(items, SHAPE, rng, ids=ids_of(tokenizer), tokens=120)
    found = losses(model, heads, readouts, batch)
    sum(term for term, _ in found.readings.values()).backward()
    first = model.model.language_model.layers[0].self_attn.q_proj.weight.grad
    assert first is not None and float(first.abs().sum()) > 0
    assert {"read", "shared", "sees", "compares", "answers"} <= set(found.right)
    alone = losses(model, heads, readouts, batch, readouts_only=True)
    model.zero_grad()
    sum(term for term, _ in alone.readings.values()).backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_each_phrase_looks_at_its_own_object_and_back_at_the_first(tokenizer, some):
    example = next(example for example in some if len(example.targets) == 2)
    item = encode(example, tokenizer, SHAPE, np.random.default_rng(0), spelling=0)
    seen = np.zeros((2, SHAPE.image_tokens), dtype=bool)
    seen[0, 3] = seen[1, 7] = True
    same = next(i for i, turn in enumerate(example.turns) if turn.kind == "same")
    alone = [i for i, turn in enumerate(example.turns) if turn.things == example.targets[1:]]
    for number, looks in ((same, [[3], [7], []]), (alone[0], [[7], [7]])):
        told = item.told[number]
        placed = place([[told]], [(60,)], [seen])
        assert [np.flatnonzero(row).tolist() for row in placed.sees.numpy()] == looks
        assert (placed.columns - 60).tolist() == told[:, 0].tolist()
    backs = place([[item.told[same]]], [(60,)], [seen])
    assert backs.back.tolist() == [-1, backs.columns[0], backs.columns[1]]
    assert backs.answers.tolist() == [False, False, True]


def test_looking_costs_nothing_where_it_should_and_much_elsewhere(tokenizer, some):
    example = next(example for example in some if len(example.targets) == 2)
    item = encode(example, tokenizer, SHAPE, np.random.default_rng(0), spelling=0)
    seen = np.zeros((2, SHAPE.image_tokens), dtype=bool)
    seen[0, 3] = seen[1, 7] = True
    same = next(i for i, turn in enumerate(example.turns) if turn.kind == "same")
    placed = place([[item.told[same]]], [(60,)], [seen])
    length = 60 + len(item.turns[same][0])
    first, second, answer = placed.columns.tolist()
    ways = {(1, first): 1 + 3, (1, second): 1 + 7, (2, second): first, (3, answer): second}
    attention = [torch.zeros(1, 4, length, length) for _ in range(4)]
    for (block, row), column in ways.items():
        attention[block][0, 0, row, column] = 1.0
    terms, shares = looking(attention, placed)
    assert {name: count for name, (_, count) in terms.items()} == {
        "sees": 2, "compares": 1, "answers": 1,
    }  # fmt: skip
    assert all(float(term) == pytest.approx(0.0, abs=1e-6) for term, _ in terms.values())
    assert shares == {"sees": 1.0, "compares": 1.0, "answers": 1.0}
    for (block, row), column in ways.items():
        attention[block][0, 0, row, column] = 0.0
        assert sum(float(term) for term, _ in looking(attention, placed)[0].values()) > 1.0
        attention[block][0, 0, row, column] = 1.0


@pytest.mark.parametrize("comparing", [0.0, -1.0])
def test_turns_that_compare_cannot_be_never_wanted(comparing):
    with pytest.raises(ValueError, match="must be above 0"):
        Settings(comparing=comparing)
