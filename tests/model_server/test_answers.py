"""Decoding and scoring against the plain way of doing each; prompts, tokens and adapters."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model_server import scoring
from model_server.adapters import Adapters, check_adapter
from model_server.engine import Job
from model_server.errors import AdapterError, ModelFolderError
from model_server.families import open_model
from model_server.families.chat import answer_ids, encode, prompt_text, question_turn
from model_server.families.checkpoint import load_checkpoint
from model_server.families.overlay import OverlayModel
from model_server.families.tokens import token_bytes
from model_server.folder import find_model
from model_server.jobs import Answer, Prompt, Sampling
from tests.model_server.conftest import TEXTS, build_tiny, picture

pytestmark = pytest.mark.model
OPTIONS = ("red", "a small red star", "blue", "a", "large blue", "a large blue square")


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> OverlayModel:
    return open_model(find_model(tiny_folder), device="cpu", threads=1)


def ask(model: OverlayModel, *prompts: Prompt, adapter: str | None = None) -> list[Answer]:
    jobs = [Job(prompt, adapter) for prompt in prompts]
    model.answer(jobs)
    return [job.future.result(0) for job in jobs]


def prompt(text: str, image: int = 0, options: tuple[str, ...] = (), **sampling: object) -> Prompt:
    sampling.setdefault("max_tokens", 8)
    return Prompt(question_turn(1, text), [picture(image)], options, Sampling(**sampling))


def test_greedy_is_what_generate_says(tiny: OverlayModel) -> None:
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
def test_a_batch_answers_as_each_alone(tiny: OverlayModel, options: tuple[str, ...]) -> None:
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


def test_a_sampled_row_does_not_depend_on_its_neighbours(tiny: OverlayModel) -> None:
    warm = [prompt(TEXTS[0], 1, temperature=1.5, top_p=0.9, seed=seed) for seed in range(3)]
    together = ask(tiny, *warm, prompt(TEXTS[2], 2))
    assert [ask(tiny, one)[0].text for one in warm] == [answer.text for answer in together[:3]]
    assert len({answer.text for answer in together[:3]}) > 1


def brute_force(tiny: OverlayModel, asked: Prompt) -> list[float]:
    """Log-probability of each option, one plain forward pass over prompt + option each."""
    sums = []
    for option in asked.options:
        processor = tiny._processor
        before = prompt_text(processor, asked.messages)
        start = encode(processor, [before], [asked.images])["input_ids"].shape[1]
        inputs = encode(processor, [f"{before}{option}<|end|>"], [asked.images])
        logprobs = torch.log_softmax(tiny._model(**inputs).logits[0], dim=-1)
        ids = inputs["input_ids"][0]
        sums.append(sum(float(logprobs[i - 1, ids[i]]) for i in range(start, len(ids))))
    return sums


def test_options_are_scored_as_by_brute_force(tiny: OverlayModel) -> None:
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
    tiny: OverlayModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [prompt(text, seed, OPTIONS) for seed, text in enumerate(TEXTS)]
    branched = ask(tiny, *asked)
    monkeypatch.setattr(tiny, "_branches", False)
    for one, other in zip(branched, ask(tiny, *asked), strict=True):
        assert one.options == pytest.approx(other.options, abs=1e-4)
    monkeypatch.setattr(tiny, "_branches", True)
    monkeypatch.setattr(scoring, "_ROWS", 4)  # more options than one pass takes
    for one, other in zip(branched, ask(tiny, *asked), strict=True):
        assert one.options == pytest.approx(other.options, abs=1e-4)


def test_an_image_is_seen_once(tiny: OverlayModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    see = tiny._model.get_image_features

    def counted(pixel_values: torch.Tensor, **options: object) -> object:
        seen.append(len(pixel_values))
        return see(pixel_values=pixel_values, **options)

    monkeypatch.setattr(tiny._model, "get_image_features", counted)
    asked = [prompt(text, image) for text in TEXTS for image in (70, 71)]
    first = ask(tiny, *asked)
    assert seen == [2]
    assert [answer.text for answer in ask(tiny, *asked)] == [answer.text for answer in first]
    ask(tiny, prompt(TEXTS[0], 70, OPTIONS), prompt(TEXTS[0], 72, OPTIONS))
    assert seen == [2, 1]
    monkeypatch.setattr(tiny._seen, "works", False)
    assert [answer.text for answer in ask(tiny, *asked)] == [answer.text for answer in first]


def test_what_was_seen_is_kept_by_adapter_and_within_bounds(
    tiny_folder: Path, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    model = open_model(find_model(tiny_folder), device="cpu")
    tower = r".*(vision_tower|projector).*(q_proj|v_proj|linear_1)"
    texts = []
    for seed in (1, 2):  # the same name, other weights, which change what is seen
        path = make_adapter(tmp_path / f"{seed}", seed=seed, layers=tower)
        model.load_adapter("a", path)
        texts.append(ask(model, prompt(TEXTS[0]), adapter="a")[0].text)
        model.unload_adapter("a")
    texts.append(ask(model, prompt(TEXTS[0]))[0].text)
    assert len(set(texts)) == 3
    seen = model._seen
    features = next(iter(seen._kept.values()))
    assert {adapter for adapter, _ in seen._kept} == {None}
    assert seen._bytes == len(seen._kept) * features.nbytes
    seen._max_bytes = 3 * features.nbytes
    ask(model, *(prompt("a", image) for image in range(8)))
    assert len(seen._kept) == 3 and seen._bytes == 3 * features.nbytes


def test_one_unreadable_prompt_fails_alone(tiny: OverlayModel) -> None:
    odd = Prompt(question_turn(2, "a"), [picture(0)])  # two places, one image
    jobs = [Job(prompt(TEXTS[0])), Job(odd), Job(prompt("a " * 600))]
    tiny.answer(jobs)
    assert jobs[0].future.result(0).text == ask(tiny, prompt(TEXTS[0]))[0].text
    assert jobs[1].future.exception(0).code == "unreadable_messages"
    assert jobs[2].future.exception(0).code == "context_length_exceeded"


def test_answers_are_written_as_the_template_writes_them(tiny: OverlayModel) -> None:
    processor = tiny._processor
    turns = question_turn(1, TEXTS[0])
    for answer in ("red", "a small red star", "marble ünïcode"):
        ids = answer_ids(processor, turns, answer, tiny._ends)
        whole = f"{prompt_text(processor, turns)}{answer}<|end|>"
        joint = processor.tokenizer(whole, add_special_tokens=False)["input_ids"]
        assert joint[-len(ids) :] == ids and ids[-1] in tiny._ends
        assert (
            b"".join(token_bytes(processor.tokenizer, id) for id in ids[:-1]).decode()
            == f" {answer}"
        )


def test_templates_that_do_not_continue_the_prompt(
    tiny: OverlayModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd:
        tokenizer = tiny._processor.tokenizer

        def apply_chat_template(self, turns: list, **options: object) -> str:
            return f"{len(turns)} turns"

    ids = answer_ids(Odd(), question_turn(0, "a"), "red star", tiny._ends)
    assert tiny._processor.tokenizer.decode(ids) == "red star<|end|>"


def test_an_adapter_for_another_model_is_refused(
    tiny_folder: Path, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    model, _ = load_checkpoint(find_model(tiny_folder), device="cpu")
    path = make_adapter(tmp_path / "fits")
    check_adapter(model, path)
    weights = load_file(path / "adapter_model.safetensors")
    for wrong, message in (
        (
            {
                key: value[..., :-1].contiguous()
                for key, value in weights.items()
                if "lora_A" in key
            },
            "wide",
        ),
        (
            {key.replace("layers.0", "layers.9"): value for key, value in weights.items()},
            "no layer",
        ),
    ):
        save_file(wrong, path / "adapter_model.safetensors")
        with pytest.raises(AdapterError, match=message):
            Adapters(model).load("a", path)
        assert not any("lora" in name for name, _ in model.named_modules())


def test_unloading_the_last_adapter_restores_the_model(
    tiny_folder: Path, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    model, _ = load_checkpoint(find_model(tiny_folder), device="cpu")
    before = [name for name, _ in model.named_modules()]
    adapters = Adapters(model)
    adapters.load("a", make_adapter(tmp_path / "a"))
    adapters.activate("a")
    adapters.unload("a")
    assert [name for name, _ in model.named_modules()] == before


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
