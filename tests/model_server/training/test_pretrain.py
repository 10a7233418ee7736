"""Pretraining: packed turns are worth single ones, everything is trained, and the same seed gives the same weights."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from model_server.architectures.tiny import build_model, build_processor  # noqa: E402
from model_server.training import pretrain, settings  # noqa: E402
from model_server.training.evaluate import answer_closed, answer_open, evaluate  # noqa: E402
from model_server.training.export import commit  # noqa: E402
from model_server.training.objective import (  # noqa: E402
    DenseHeads,
    collate,
    losses,
    optimisers,
    together,
)
from model_server.training.packing import (  # noqa: E402
    answer_logits,
    decoder_states,
    encode_turns,
    pack,
    vision_states,
)
from model_server.training.readings import Readouts  # noqa: E402
from model_server.training.stream import (  # noqa: E402
    DENSE,
    Pool,
    dense_classes,
    dense_labels,
    encode,
)
from model_server.worlds import vocabulary  # noqa: E402
from model_server.worlds.samples import bundled_view, examples  # noqa: E402
from regiontext.marks.kinds import COLOURS, KINDS  # noqa: E402
from tests.model_server.training.made import SHAPE, ids_of  # noqa: E402

pytestmark = pytest.mark.model


def test_words_of_the_world_are_single_tokens_and_held_back_ones_are_not(tokenizer):
    for name in vocabulary.ATTRIBUTES:
        for word in vocabulary.values(name):
            assert len(tokenizer(word)["input_ids"]) == 1, word
    for word in vocabulary.HELD_BACK.values():
        assert len(tokenizer(word)["input_ids"]) > 1, word


def test_packed_turns_get_the_numbers_they_would_have_alone(tokenizer, some):
    model = build_model(tokenizer, SHAPE).eval()
    processor = build_processor(tokenizer, SHAPE)
    example = next(e for e in some if len(e.turns) > 3)
    turns = [(turn.prompt, turn.answer) for turn in example.turns[:3]]
    encoded = encode(example, tokenizer, SHAPE, np.random.default_rng(0))
    image, user, pad = ids_of(tokenizer)
    packed = pack(
        [encode_turns(tokenizer, turns)],
        image_tokens=SHAPE.image_tokens,
        image_id=image,
        user_id=user,
        pad_id=pad,
        length=260,
    )
    pixels = torch.from_numpy(encoded.pixels.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        inside, _ = decoder_states(model, vision_states(model, pixels), packed)
        together = answer_logits(model, inside, packed)
        alone = []
        for prompt, answer in turns:
            chat = [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": example.images[0]},
                        {"type": "text", "text": prompt},
                    ],
                },
                {"role": "assistant", "content": answer},
            ]
            inputs = processor.apply_chat_template(
                chat, tokenize=True, return_dict=True, return_tensors="pt"
            )
            learnt = len(tokenizer(answer)["input_ids"]) + 1
            assert inputs["input_ids"][0, -learnt:-1].tolist() == tokenizer(answer)["input_ids"]
            inputs["pixel_values"] = pixels
            alone.append(model(**inputs).logits[0, -learnt - 1 : -1])
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)


def test_a_step_moves_every_parameter_but_the_unused_norm(tokenizer, some):
    torch.manual_seed(0)
    model = build_model(tokenizer, SHAPE)
    heads = DenseHeads(SHAPE.vision_width)
    readouts = Readouts(SHAPE.text_width)
    optims = optimisers(model, (heads, readouts), matrix_lr=1e-2, other_lr=1e-2)
    rng = np.random.default_rng(0)
    items = [encode(e, tokenizer, SHAPE, rng) for e in some]
    before = {k: v.clone() for k, v in model.named_parameters()}
    first = None
    for _ in range(3):
        batch = collate(items, SHAPE, rng, ids=ids_of(tokenizer), tokens=160)
        found = losses(model, heads, readouts, batch)
        told = sum(term for term, _ in found.readings.values())
        (found.dense + found.answer + told).backward()
        first = first or found.answer.item()
        for optim in optims:
            optim.step()
            optim.zero_grad()
    assert found.answer.item() < first
    still = {k for k, v in model.named_parameters() if torch.equal(v, before[k])}
    # transformers' tower normalises only its pooled output with it, which ViP-LLaVA does not read.
    assert still == {
        "model.vision_tower.post_layernorm.weight",
        "model.vision_tower.post_layernorm.bias",
    }


def test_dense_labels_say_what_lies_at_each_patch(some):
    for example in some[:8]:
        (labels,) = dense_labels(example, SHAPE)
        assert labels.shape == (len(DENSE), SHAPE.image_tokens)
        marked = labels[DENSE.index("marked")] == 1
        thing = example.objects[example.targets[0]]
        if len(example.targets) == 1 and marked.any():
            colour = labels[DENSE.index("colour"), marked]
            assert set(colour) == {1 + vocabulary.COLOURS.index(thing.colour)}


def test_dense_labels_tell_two_marks_apart(some):
    apart = 0
    for example in (e for e in some if len(e.targets) == 2):
        (labels,) = dense_labels(example, SHAPE)
        marked = labels[DENSE.index("marked")] == 1
        seen = {
            tuple(labels[[DENSE.index("mark kind"), DENSE.index("mark colour")], patch])
            for patch in np.flatnonzero(marked)
        }
        told = {
            (
                1 + KINDS.index(style.kind),
                1 + (len(COLOURS) if style.colour is None else list(COLOURS).index(style.colour)),
            )
            for style in example.styles
        }
        assert len(told) == 2
        assert seen <= told
        apart += len(seen) == 2
        assert not labels[DENSE.index("mark kind"), ~marked].any()
        for name, most in zip(DENSE, labels.max(axis=1), strict=True):
            assert most < dense_classes(name)
    assert apart


def test_a_picture_for_each_of_a_pair_tells_of_the_one_that_is_marked_in_it(tokenizer):
    pair = next(e for e in examples(4, bundled_view(), training=False, kinds=("same",)))
    labels = dense_labels(pair, SHAPE)
    assert labels.shape == (2, len(DENSE), SHAPE.image_tokens)
    encoded = encode(pair, tokenizer, SHAPE, np.random.default_rng(0), spelling=0)
    halves = encoded.seen.reshape(2, 2, SHAPE.image_tokens)
    for picture, target in enumerate(pair.targets):
        marked = labels[picture, DENSE.index("marked")] == 1
        assert marked.any() and (halves[picture, picture] == marked).all()
        assert not halves[picture, 1 - picture].any()
        colour = 1 + vocabulary.COLOURS.index(pair.objects[target].colour)
        assert set(labels[picture, DENSE.index("colour"), marked]) == {colour}


def test_examples_of_one_and_of_two_pictures_are_learnt_as_one_batch(tokenizer):
    torch.manual_seed(0)
    model = build_model(tokenizer, SHAPE)
    heads, readouts = DenseHeads(SHAPE.vision_width), Readouts(SHAPE.text_width)
    rng = np.random.default_rng(0)
    items = [
        encode(e, tokenizer, SHAPE, rng)
        for e in islice(examples(5, bundled_view(), vary=False), 12)
    ]
    alike = [[item for item in items if len(item.pixels) == count] for count in (1, 2)]
    assert all(alike)

    known = ids_of(tokenizer)

    def batch(items, ids=known):
        return collate(items, SHAPE, np.random.default_rng(0), ids=ids, tokens=160)

    batches = [batch(some) for some in alike]
    found = [losses(model, heads, readouts, one) for one in batches]
    whole = together(found, batches)
    dense = losses(model, heads, readouts, batch([*alike[0], *alike[1]], ids=None)).dense
    # Patches without an object weigh less, and there are not as many in each.
    assert torch.allclose(whole.dense, dense, rtol=0.05)
    tokens = [len(one.texts.targets) for one in batches]
    mean = sum(f.answer.item() * n for f, n in zip(found, tokens, strict=True)) / sum(tokens)
    assert whole.answer.item() == pytest.approx(mean, rel=1e-4)
    assert {"answer", "answer of 2"} <= set(whole.right)
    for name, (term, count) in whole.readings.items():
        terms = [one.readings[name] for one in found if name in one.readings]
        assert count == sum(n for _, n in terms)
        mean = sum(loss.item() * n for loss, n in terms) / count
        assert term.item() == pytest.approx(mean, rel=1e-4), name
    assert {"shared colour", "read shape"} <= set(whole.readings)
    # Labels without texts, which the tower learns besides, count as pictures only.
    more = [*batches, batch(alike[0], ids=None)]
    found = [losses(model, heads, readouts, one) for one in more]
    assert torch.allclose(together(found, more).answer, whole.answer)


def test_two_pictures_follow_each_other_in_one_sequence(tokenizer):
    view = replace(bundled_view(), scope="both")
    model = build_model(tokenizer, SHAPE).eval()
    processor = build_processor(tokenizer, SHAPE)
    example = next(examples(4, view, training=False, kinds=("caption",)))
    encoded = encode(example, tokenizer, SHAPE, np.random.default_rng(0), spelling=0)
    assert encoded.pixels.shape == (2, SHAPE.image, SHAPE.image, 3)
    batch = collate(
        [encoded, encoded], SHAPE, np.random.default_rng(0), ids=ids_of(tokenizer), tokens=80
    )
    heads = DenseHeads(SHAPE.vision_width)
    found = losses(model, heads, Readouts(SHAPE.text_width), batch)
    assert np.isfinite(float(found.dense.detach()))
    turn = example.turns[0]
    content = [{"type": "image", "image": image} for image in example.images]
    chat = [
        {"role": "user", "content": [*content, {"type": "text", "text": turn.prompt}]},
        {"role": "assistant", "content": turn.answer},
    ]
    inputs = processor.apply_chat_template(
        chat, tokenize=True, return_dict=True, return_tensors="pt"
    )
    inputs["pixel_values"] = batch.pixels[:2]
    learnt = len(tokenizer(turn.answer)["input_ids"]) + 1
    with torch.no_grad():
        inside, _ = decoder_states(model, vision_states(model, batch.pixels), batch.texts)
        together = answer_logits(model, inside, batch.texts)
        alone = model(**inputs).logits[0, -learnt - 1 : -1]
    assert torch.allclose(together[:learnt], alone, atol=1e-4)


def test_a_first_turn_that_does_not_fit_is_refused(tokenizer):
    turns = encode_turns(tokenizer, [("word " * 100, "answer")])
    with pytest.raises(ValueError, match="does not fit"):
        pack([turns], image_tokens=49, image_id=1, user_id=2, pad_id=0, length=100)


def test_the_pool_keeps_the_newest():
    pool = Pool(3)
    pool.add(list("abcd"))  # type: ignore[arg-type]
    assert len(pool) == 3 and set(pool.sample(np.random.default_rng(0), 60)) == set("bcd")


def test_the_learning_rate_ramps_holds_and_falls_to_zero():
    rates = [settings.learning_rate(done) for done in np.linspace(0, 1, 101)]
    assert rates[0] < 0.1 and max(rates) == 1 and rates[-1] == 0
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert settings.learning_rate(0.4, start=0.4) < 0.1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that trains a very small model and returns its folder and log, and the folder of a first run."""
    patch = pytest.MonkeyPatch()
    patch.setattr(pretrain, "Shape", lambda: SHAPE)
    base = settings.Settings(
        steps=4, tower_share=0.5, tower_batch=4, batch=4, matrix_lr=1e-3, other_lr=1e-3
    )
    root = tmp_path_factory.mktemp("runs")

    def train(name: str, **changes):
        lines: list[dict] = []
        out = root / name / "model"
        pretrain.train(
            replace(base, **changes), root / name / "work", out, report=lines.append, threads=1
        )
        return out, lines

    yield train, train("first")
    patch.undo()


def _weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.timeout(300)
def test_a_run_that_is_over_trains_no_further_and_other_settings_are_refused(run):
    train, (out, lines) = run
    assert lines[-1]["done"] and lines[-1]["step"] == 4
    before = _weights(out)
    _, again = train("first")
    assert again[-1]["step"] == 4
    assert all(torch.equal(tensor, before[name]) for name, tensor in _weights(out).items())
    with pytest.raises(ValueError, match="another seed"):
        train("first", seed=1)


@pytest.mark.timeout(300)
def test_the_same_seed_gives_the_same_weights(run):
    train, (out, _) = run
    twin, _ = train("twin")
    first, second = _weights(out), _weights(twin)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.timeout(300)
def test_a_run_goes_on_from_given_weights_with_their_tokenizer(run):
    train, (out, _) = run
    further, lines = train("further", start=str(out), steps=2, tower_share=0.0, seed=3)
    assert lines[-1]["step"] == 2
    one, other = _weights(out), _weights(further)
    assert set(one) == set(other)
    moved = [name for name in one if not torch.equal(one[name], other[name])]
    assert len(moved) > 0 and all(
        (one[name].float() - other[name].float()).abs().max() < 0.1 for name in moved
    )
    assert (out / "tokenizer.json").read_bytes() == (further / "tokenizer.json").read_bytes()
    card = json.loads((further / "regiontext.json").read_text())["card"]
    assert card["training"]["start"] == "model" and card["training"]["steps"] == 2


def test_a_run_writes_a_model_folder_that_answers(run):
    _, (out, _) = run
    about = json.loads((out / "regiontext.json").read_text())
    assert about["name"] == "regiontext-mini" and about["view"]["scope"] == "each"
    assert about["world"]["seed"] == 0 and about["region_input"] == "overlay"
    assert about["card"]["commit"] == commit()

    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(out)
    example = next(examples(1, bundled_view(), training=False))
    closed = next(turn for turn in example.turns if turn.options)
    opened = [(example.images, turn) for turn in example.turns if not turn.options]
    assert answer_closed(model, processor, example.images, closed) in closed.options
    assert len(answer_open(model, processor, opened)) == len(opened)


BUNDLED = Path(pretrain.__file__).parents[1] / "checkpoints" / "regiontext-mini"


def test_the_bundled_model_reads_the_world_as_its_card_says():
    about = json.loads((BUNDLED / "regiontext.json").read_text())
    assert about["view"] == bundled_view().to_dict()
    assert (BUNDLED / "model.safetensors").stat().st_size < 12_000_000
    figures = evaluate(BUNDLED, n=16)
    assert figures["choice/material"] >= 0.7 and figures["choice/colour"] >= 0.7
    assert figures["attribute/size"] >= 0.8 and figures["caption/words"] >= 0.7


def test_the_bundled_model_scores_options_it_has_never_seen():
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(BUNDLED, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(BUNDLED)
    example = next(examples(5, bundled_view(), training=False, kinds=("choice",)))
    turn = example.turns[0]
    options = ("marble", "brand new", turn.answer)
    asked = replace(turn, options=options)
    assert answer_closed(model, processor, example.images, asked) == turn.answer
