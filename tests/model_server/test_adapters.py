"""Adapters beside peft: alone, side by side and merged; those of other models are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from model_server.adapters import Adapters, read_adapter
from model_server.batches import Job
from model_server.errors import AdapterError
from model_server.families import open_model
from model_server.families.chat import encode, prompt_text
from model_server.families.checkpoint import load_checkpoint
from model_server.families.overlay import OverlayModel
from model_server.families.packed import PackedModel
from model_server.folder import find_model
from model_server.jobs import Prompt
from tests.model_server.answering import Served, ask, prompt
from tests.model_server.conftest import TEXTS

pytestmark = pytest.mark.model

LONG = "a long word " * 10_000


@pytest.mark.parametrize(
    "layers", [r".*language_model.*(q_proj|v_proj|down_proj)", r".*(_proj|fc1|linear_2)"]
)
def test_adapters_say_what_peft_says(
    tiny: Served, make_adapter: Callable[..., Path], tmp_path: Path, layers: str
) -> None:
    """Alone, beside each other in a batch where the model can, and merged."""
    names = ["a", "b", "c"]
    expected = []
    for seed, name in enumerate(names, 1):
        path = make_adapter(tmp_path / name, seed=seed, scale=0.5, layers=layers)
        tiny.load_adapter(name, path)
        expected.append(peft_says(tiny, path, prompt(TEXTS[0], 3)))
    try:
        jobs = [Job(prompt(TEXTS[0], 3), name) for name in [*names, None] for _ in range(2)]
        for group in {tiny.group(job) for job in jobs}:
            tiny.answer([job for job in jobs if tiny.group(job) == group])
        plain = ask(tiny, prompt(TEXTS[0], 3))[0]
        tiny._adapters.merge("b")
        merged = ask(tiny, prompt(TEXTS[0], 3), prompt(TEXTS[0], 3), adapter="b")
        answers = [job.future.result(0) for job in jobs]
        for said, right in zip(
            [*answers[:6], *merged], [expected[n] for n in (0, 0, 1, 1, 2, 2, 1, 1)], strict=True
        ):
            for token, (id, logprob) in zip(said.tokens, right, strict=True):
                assert (token.id, token.logprob) == (id, pytest.approx(logprob, abs=1e-3))
        again = ask(tiny, prompt(TEXTS[0], 3))[0]
        assert [t.logprob for t in again.tokens] == [t.logprob for t in plain.tokens]
    finally:
        for name in names:
            tiny.unload_adapter(name)


def peft_says(tiny: Served, path: Path, asked: Prompt) -> list[tuple[int, float]]:
    """Greedy tokens and log-probabilities of peft's own model."""
    model, processor = load_checkpoint(find_model(tiny._model.name_or_path), device="cpu")
    wrapped = PeftModel.from_pretrained(model, str(path)).eval()
    inputs = encode(
        processor, [prompt_text(processor, asked.messages)], [[p.load() for p in asked.images]]
    )
    out = wrapped.generate(
        **inputs,
        max_new_tokens=asked.sampling.max_tokens,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    ids = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    return [
        (id, float(torch.log_softmax(logits[0], dim=-1)[id]))
        for id, logits in zip(ids, out.logits, strict=True)
    ]


@pytest.mark.parametrize("general", [False, True])
def test_an_adapter_asked_again_and_again_is_merged(
    tiny_folder: Path, make_adapter: Callable[..., Path], tmp_path: Path, general: bool
) -> None:
    folder = find_model(tiny_folder)
    model: Served = (
        OverlayModel(*load_checkpoint(folder, device="cpu"))
        if general
        else open_model(folder, device="cpu", dtype="float32")
    )
    model.load_adapter("a", make_adapter(tmp_path / "a"))
    first = ask(model, prompt(TEXTS[0]), adapter="a")[0]
    assert model._adapters.merged is None
    for _ in range(8):
        last = ask(model, prompt(TEXTS[0]), adapter="a")[0]
    assert model._adapters.merged == "a"
    assert last.text == first.text != ask(model, prompt(TEXTS[0]))[0].text
    model.unload_adapter("a")
    assert model._adapters.merged is None


@pytest.mark.parametrize("mixed", [False, True])
def test_adapters_asked_in_turns_are_not_merged(
    tiny: Served, make_adapter: Callable[..., Path], tmp_path: Path, mixed: bool
) -> None:
    for seed, name in enumerate(["a", "b"], 1):
        tiny.load_adapter(name, make_adapter(tmp_path / name, seed=seed))
    try:
        for turn in range(10):
            name = "ab"[turn % 2]
            jobs = [Job(prompt(TEXTS[0], max_tokens=1), name) for _ in range(8)]
            if mixed and isinstance(tiny, PackedModel):
                jobs.append(Job(prompt(TEXTS[0], max_tokens=1)))
            tiny.answer(jobs)
            assert tiny._adapters.merged is None
    finally:
        for name in ("a", "b"):
            tiny.unload_adapter(name)


def test_an_adapter_for_another_model_is_refused(
    tiny_folder: Path, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    model, _ = load_checkpoint(find_model(tiny_folder), device="cpu")
    path = make_adapter(tmp_path / "fits")
    read_adapter(model, path)
    weights = load_file(path / "adapter_model.safetensors")
    for wrong, message in (
        (
            {
                key: value[..., :-1].contiguous() if "lora_A" in key else value
                for key, value in weights.items()
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


def test_a_folder_that_cannot_be_read_is_refused_with_the_reason(
    tiny_folder: Path, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    model, _ = load_checkpoint(find_model(tiny_folder), device="cpu")
    path = make_adapter(tmp_path / "fits")
    file = path / "adapter_config.json"
    config = json.loads(file.read_text())
    for change, message in (
        ({"lora_alpha": "much"}, "lora_alpha is 'much'; it must be a number"),
        ({"lora_alpha": [LONG]}, "lora_alpha is "),
        ({"lora_alpha": None}, "lora_alpha is None"),
        ({"lora_alpha": float("inf")}, "lora_alpha is inf"),
        ({"alpha_pattern": {"q_proj": {}}}, r"alpha_pattern\['q_proj'\] is \{\}"),
        ({"alpha_pattern": {"(": 8}}, "alpha_pattern is "),
        ({"alpha_pattern": ["q_proj"]}, "alpha_pattern is "),
    ):
        file.write_text(json.dumps(config | change))
        with pytest.raises(AdapterError, match=message) as refused:
            read_adapter(model, path)
        assert refused.value.param == "lora_path" and len(refused.value.message) < 600
    for missing in (Path("/" + "a" * 5000), Path("/" + "a/" * 2500)):
        with pytest.raises(AdapterError, match="cannot be read: File name too long") as refused:
            read_adapter(model, missing)
        assert refused.value.param == "lora_path" and len(refused.value.message) < 300


def test_halves_that_do_not_fit_each_other_are_refused(
    tiny_folder: Path, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    model, _ = load_checkpoint(find_model(tiny_folder), device="cpu")
    path = make_adapter(tmp_path / "fits")
    file = path / "adapter_model.safetensors"
    weights = load_file(file)
    for change in (lambda one: one[:2], lambda one: one[:0], lambda one: one[0]):
        save_file(
            {k: change(one).contiguous() if "lora_A" in k else one for k, one in weights.items()},
            file,
        )
        with pytest.raises(AdapterError, match=r"must be \[r, in\] and \[out, r\]"):
            read_adapter(model, path)


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
