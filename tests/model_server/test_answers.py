"""Decoding and scoring against the plain way of doing each; prompts and tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers.activations import ACT2FN

from model_server import scoring
from model_server.batches import Job
from model_server.errors import ModelFolderError, RequestError
from model_server.families import open_model
from model_server.families.chat import answer_ids, encode, prompt_text, question_turn
from model_server.families.checkpoint import load_checkpoint
from model_server.families.features import image_features
from model_server.families.overlay import OverlayModel
from model_server.families.packed import PackedModel
from model_server.families.tokens import token_bytes
from model_server.folder import find_model
from model_server.grammars import regex_grammar
from model_server.jobs import Picture, Prompt, Sampling
from model_server.tower import Tower
from tests.model_server.answering import Served, ask, prompt
from tests.model_server.conftest import TEXTS, build_tiny, picture

pytestmark = pytest.mark.model
OPTIONS = ("red", "a small red star", "blue", "a", "large blue", "a large blue square")


def test_greedy_is_what_generate_says(tiny: Served) -> None:
    model, processor = tiny._model, tiny._processor
    turns = question_turn(1, TEXTS[0])
    inputs = encode(processor, [prompt_text(processor, turns)], [[picture(3)]])
    length = inputs["input_ids"].shape[1]
    plain = model.generate(
        **inputs,
        max_new_tokens=8,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    (answer,) = ask(tiny, prompt(TEXTS[0], 3))
    assert [token.id for token in answer.tokens] == plain.sequences[0, length:].tolist()
    for token, logits in zip(answer.tokens, plain.logits, strict=True):
        expected = torch.log_softmax(logits[0], dim=-1)[token.id]
        assert token.logprob == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("options", [(), OPTIONS])
def test_a_batch_answers_as_each_alone(tiny: Served, options: tuple[str, ...]) -> None:
    prompts = [
        prompt(text, seed, options, max_tokens=3 + 2 * seed) for seed, text in enumerate(TEXTS)
    ]
    together = ask(tiny, *prompts)
    for one, other in zip(prompts, together, strict=True):
        (alone,) = ask(tiny, one)
        assert (alone.text, alone.finish, alone.prompt_tokens) == (
            other.text,
            other.finish,
            other.prompt_tokens,
        )
        assert [token.id for token in alone.tokens] == [token.id for token in other.tokens]
        for a, b in zip(alone.tokens, other.tokens, strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-3)


def test_a_sampled_row_does_not_depend_on_its_neighbours(tiny: Served) -> None:
    warm = [prompt(TEXTS[0], 1, temperature=1.5, top_p=0.9, seed=seed) for seed in range(3)]
    together = ask(tiny, *warm, prompt(TEXTS[2], 2))
    assert [ask(tiny, one)[0].text for one in warm] == [answer.text for answer in together[:3]]
    assert len({answer.text for answer in together[:3]}) > 1


def brute_force(tiny: Served, asked: Prompt) -> list[float]:
    """Log-probability of each option, one plain forward pass over prompt + option each."""
    sums = []
    images = [one.load() for one in asked.images]
    for option in asked.options:
        processor = tiny._processor
        before = prompt_text(processor, asked.messages)
        start = encode(processor, [before], [images])["input_ids"].shape[1]
        inputs = encode(processor, [f"{before}{option}<|end|>"], [images])
        logprobs = torch.log_softmax(tiny._model(**inputs).logits[0], dim=-1)
        ids = inputs["input_ids"][0]
        sums.append(sum(float(logprobs[i - 1, ids[i]]) for i in range(start, len(ids))))
    return sums


def test_options_are_scored_as_by_brute_force(tiny: Served) -> None:
    for seed, text in enumerate(TEXTS[:2]):
        asked = prompt(text, seed, OPTIONS)
        with torch.inference_mode():
            sums = brute_force(tiny, asked)
        total = math.log(sum(math.exp(value) for value in sums))
        (answer,) = ask(tiny, asked)
        for option, value in zip(OPTIONS, sums, strict=True):
            assert answer.options[option] == pytest.approx(math.exp(value - total), abs=1e-4)
        assert answer.text == OPTIONS[sums.index(max(sums))]
        logprob = sum(token.logprob for token in answer.tokens)
        assert logprob == pytest.approx(max(sums), abs=1e-3)


def test_scoring_without_branching_says_the_same(
    general: OverlayModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [prompt(text, seed, OPTIONS) for seed, text in enumerate(TEXTS)]
    branched = ask(general, *asked)
    monkeypatch.setattr(general, "_branches", False)
    for one, other in zip(branched, ask(general, *asked), strict=True):
        assert one.options == pytest.approx(other.options, abs=1e-4)
    monkeypatch.setattr(general, "_branches", True)
    monkeypatch.setattr(scoring, "_ROWS", 4)  # more options than one pass takes
    for one, other in zip(branched, ask(general, *asked), strict=True):
        assert one.options == pytest.approx(other.options, abs=1e-4)


def test_packed_and_general_say_the_same(packed: PackedModel, general: OverlayModel) -> None:
    asked = [
        prompt(text, seed, options, max_tokens=6)
        for seed, text in enumerate(TEXTS)
        for options in ((), OPTIONS)
    ]
    asked.append(Prompt(question_turn(0, TEXTS[0]), [], sampling=Sampling(max_tokens=6)))
    for one, said in zip(asked, ask(packed, *asked), strict=True):
        (other,) = ask(general, one)
        assert (said.text, said.finish, said.prompt_tokens) == (
            other.text,
            other.finish,
            other.prompt_tokens,
        )
        for a, b in zip(said.tokens, other.tokens, strict=True):
            assert (a.id, a.logprob) == (b.id, pytest.approx(b.logprob, abs=1e-3))


def test_an_image_is_seen_once(
    packed: PackedModel,
    monkeypatch: pytest.MonkeyPatch,
    make_adapter: Callable[..., Path],
    tmp_path: Path,
) -> None:
    seen: list[int] = []
    tower = packed._model.model.vision_tower.embeddings
    see = tower.forward

    def counted(pixel_values: torch.Tensor, **options: object) -> object:
        seen.append(len(pixel_values))
        return see(pixel_values=pixel_values, **options)

    monkeypatch.setattr(tower, "forward", counted)
    asked = [prompt(text, image) for text in TEXTS for image in (70, 71)]
    first = ask(packed, *asked)
    assert sum(seen) == 2
    assert [answer.text for answer in ask(packed, *asked)] == [answer.text for answer in first]
    ask(packed, prompt(TEXTS[0], 70, OPTIONS), prompt(TEXTS[0], 72, OPTIONS))
    assert sum(seen) == 3
    packed.load_adapter("a", make_adapter(tmp_path / "a"))  # of the language model alone
    packed.answer([Job(prompt(TEXTS[0], 73), name) for name in ("a", None)])
    packed.unload_adapter("a")
    assert sum(seen) == 4
    packed.forget()
    assert [answer.text for answer in ask(packed, *asked)] == [answer.text for answer in first]


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
@pytest.mark.parametrize("layers", [-2, [1, 2, 3], [-1, -3, 0]])
def test_features_are_the_models_own(
    tiny_folder: Path, layers: int | list[int], activation: str
) -> None:
    model, _ = load_checkpoint(find_model(tiny_folder), device="cpu")
    tower = model.model.vision_tower
    tower.config.hidden_act = activation
    for layer in tower.encoder.layers:
        layer.mlp.activation_fn = ACT2FN[activation]
    width = 32 * (len(layers) if isinstance(layers, list) else 1)
    model.config.vision_feature_layer = layers
    model.model.multi_modal_projector.projector_layernorm = torch.nn.LayerNorm(width)
    model.model.multi_modal_projector.linear_1 = torch.nn.Linear(width, 32)
    pixels = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        right = image_features(model, pixels)
        assert Tower.fits(model)
        assert torch.allclose(Tower(model).see(pixels), right, atol=1e-5)
        assert torch.equal(image_features(model, pixels), right)  # its modules work as before


def test_what_was_seen_is_kept_by_adapter_and_within_bounds(
    tiny_folder: Path, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    model = open_model(find_model(tiny_folder), device="cpu", dtype="float32")
    tower = r".*(vision_tower|projector).*(q_proj|v_proj|linear_1)"
    texts = []
    for seed in (1, 2):  # the same name, other weights, which change what is seen
        path = make_adapter(tmp_path / f"{seed}", seed=seed, layers=tower)
        model.load_adapter("a", path)
        texts.append(ask(model, prompt(TEXTS[0]), adapter="a")[0].text)
        model.unload_adapter("a")
    texts.append(ask(model, prompt(TEXTS[0]))[0].text)
    assert len(set(texts)) == 3
    assert {adapter for adapter, _ in model._memory.held()} == {None}
    model.forget()
    ask(model, prompt("a", 9))
    size = model._memory.nbytes
    model._memory.max_bytes = 3 * size
    ask(model, *(prompt("a", image) for image in range(8)))
    assert (len(model._memory.held()), model._memory.nbytes) == (3, 3 * size)


def test_one_unreadable_prompt_fails_alone(tiny: Served) -> None:
    odd = Prompt(question_turn(2, "a"), [Picture.of(picture(0))])  # two places, one image
    jobs = [Job(prompt(TEXTS[0])), Job(odd), Job(prompt("a " * 600))]
    tiny.answer(jobs)
    assert jobs[0].future.result(0).text == ask(tiny, prompt(TEXTS[0]))[0].text
    assert jobs[1].future.exception(0).code == "unreadable_messages"
    assert jobs[2].future.exception(0).code == "context_length_exceeded"


def test_the_least_temperature_and_top_p_are_greedy(tiny: Served) -> None:
    greedy = ask(tiny, prompt(TEXTS[0], 1))[0]
    for cold in ({"temperature": 1e-40}, {"temperature": 1.0, "top_p": 1e-46}):
        answer, neighbour = ask(tiny, prompt(TEXTS[0], 1, **cold), prompt(TEXTS[0], 1))
        assert answer.text == neighbour.text == greedy.text


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_form_without_a_next_token_ends_the_answer(tiny: Served, temperature: float) -> None:
    nothing = regex_grammar("a{0}", param="x")
    odd = prompt(TEXTS[0], min_tokens=1, temperature=temperature, grammar=nothing)
    answer, neighbour = ask(tiny, odd, prompt(TEXTS[0], 1))
    assert (answer.text, answer.finish) == ("", "stop")
    assert answer.tokens[-1].id in tiny._writer.ends
    assert neighbour.text == ask(tiny, prompt(TEXTS[0], 1))[0].text


def test_a_row_that_raises_fails_alone(tiny: Served) -> None:
    def broken(token: object, text: str) -> None:
        raise ValueError("no ear")

    jobs = [Job(prompt(TEXTS[0], 1)), Job(prompt(TEXTS[0], 2), on_token=broken)]
    tiny.answer(jobs)
    assert jobs[0].future.result(0).text == ask(tiny, prompt(TEXTS[0], 1))[0].text
    error = jobs[1].future.exception(0)
    assert isinstance(error, RequestError) and (error.status, error.code) == (500, "model_error")
    assert "no ear" in error.message


def test_what_does_not_fit_is_refused_before_its_turn(tiny: Served) -> None:
    for asked in (prompt("a " * 600), prompt("a " * 450, options=("red", "star " * 60))):
        with pytest.raises(RequestError) as refused:
            tiny.prepare(asked)
        assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")


def test_a_picture_is_decoded_before_its_turn_and_once(tiny: Served) -> None:
    for options in ((), OPTIONS * 4):
        loads: list[int] = []

        def load(loads: list[int] = loads) -> Image.Image:
            loads.append(1)
            return picture(5)

        image = Picture(f"seen once, {len(options)}".encode(), load)
        asked = Prompt(question_turn(1, TEXTS[0]), [image], options, Sampling(max_tokens=3))
        job, other = Job(asked, ready=tiny.prepare(asked)), prompt(TEXTS[1], 2, options)
        assert len(loads) == 1
        tiny.answer([job, Job(other, ready=tiny.prepare(other))])
        assert job.future.result(0).text and len(loads) == 1


def test_one_that_the_model_cannot_run_fails_alone(general: OverlayModel) -> None:
    asked = [prompt(TEXTS[0], 1), prompt(TEXTS[2], 2)]
    ready = [general.prepare(one) for one in asked]
    (right,) = ask(general, asked[0])
    ready[1].inputs["pixel_values"] = ready[1].inputs["pixel_values"][:0]  # fewer than it names
    jobs = [Job(one, ready=own) for one, own in zip(asked, ready, strict=True)]
    general.answer(jobs)
    assert jobs[0].future.result(0).text == right.text
    assert jobs[1].future.exception(0).status == 500


def test_what_was_begun_is_not_asked_again(general: OverlayModel) -> None:
    heard: list[str] = []
    calls: list[int] = []

    def failing(*_: object) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError("full")

    jobs = [
        Job(prompt(TEXTS[0], image, min_tokens=6), on_token=lambda _, text: heard.append(text))
        for image in (1, 2)
    ]
    hook = general._model.get_output_embeddings().register_forward_pre_hook(failing)
    try:
        general.answer(jobs)
    finally:
        hook.remove()
    assert [job.future.exception(0).status for job in jobs] == [500, 500]
    assert len(heard) == 4  # two tokens of each


def test_alternatives_of_a_closed_question_are_its_options(tiny: Served) -> None:
    (plain,) = ask(tiny, prompt(TEXTS[0], 1, OPTIONS))
    (answer,) = ask(tiny, prompt(TEXTS[0], 1, OPTIONS, top_logprobs=3, temperature=2.0))
    assert (answer.text, answer.options) == (plain.text, plain.options)
    firsts = {ids[0] for ids in tiny.prepare(prompt(TEXTS[0], 1, OPTIONS)).options}
    first = answer.tokens[0]
    assert 2 <= len(first.top) <= 3 and {token.id for token in first.top} <= firsts
    assert [t.logprob for t in first.top] == sorted((t.logprob for t in first.top), reverse=True)
    for token in answer.tokens:
        assert len(token.top) < 3 or token.top[0].logprob >= token.logprob
        assert (token.id, token.logprob) in {(t.id, t.logprob) for t in token.top}


def test_answers_are_written_as_the_template_writes_them(tiny: Served) -> None:
    processor = tiny._processor
    turns = question_turn(1, TEXTS[0])
    for answer in ("red", "a small red star", "marble ünïcode"):
        ids = answer_ids(processor, turns, answer, tiny._writer.ends)
        whole = f"{prompt_text(processor, turns)}{answer}<|end|>"
        joint = processor.tokenizer(whole, add_special_tokens=False)["input_ids"]
        assert joint[-len(ids) :] == ids and ids[-1] in tiny._writer.ends
        assert (
            b"".join(token_bytes(processor.tokenizer, id) for id in ids[:-1]).decode()
            == f" {answer}"
        )


def test_templates_that_do_not_continue_the_prompt(
    tiny: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd:
        tokenizer = tiny._processor.tokenizer

        def apply_chat_template(self, turns: list, **options: object) -> str:
            return f"{len(turns)} turns"

    ids = answer_ids(Odd(), question_turn(0, "a"), "red star", tiny._writer.ends)
    assert tiny._processor.tokenizer.decode(ids) == "red star<|end|>"


def test_folders_that_cannot_be_served(tmp_path: Path, tiny_folder: Path) -> None:
    with pytest.raises(ModelFolderError, match="hub id"):
        find_model(tmp_path / "nowhere")
    with pytest.raises(ModelFolderError, match=r"no config\.json"):
        find_model(tmp_path)
    assert find_model("llava-hf/vip-llava-7b-hf").name == "vip-llava-7b-hf"
    folder = build_tiny(tmp_path / "odd", region_input="telepathy")
    with pytest.raises(ModelFolderError, match=r"telepathy.*overlay"):
        open_model(find_model(folder))
    (folder / "regiontext.json").write_text("{")
    with pytest.raises(ModelFolderError, match="not valid JSON"):
        find_model(folder)
    (folder / "regiontext.json").unlink()
    plain = find_model(folder)
    assert (plain.name, plain.region_input, plain.view, plain.lora_targets) == (
        "odd",
        "overlay",
        None,
        "language",
    )
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelFolderError, match="chat template"):
        open_model(plain)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError, match="cannot be loaded"):
        load_checkpoint(plain)
