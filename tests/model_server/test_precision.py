"""What --dtype means: float32, bfloat16, and float32 whose layers multiply in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model_server.batches import Job
from model_server.errors import ModelFolderError
from model_server.families import checkpoint, open_model
from model_server.families.checkpoint import Precision, multiplies_bfloat16, pick_precision
from model_server.families.packed import PackedModel
from model_server.folder import find_model
from tests.model_server.answering import ask, prompt
from tests.model_server.conftest import TEXTS

pytestmark = pytest.mark.model
CPU = torch.device("cpu")
MIXED = Precision(torch.float32, torch.bfloat16)
FLOAT32 = Precision(torch.float32, torch.float32)
BFLOAT16 = Precision(torch.bfloat16, torch.bfloat16)
OPTIONS = ("red", "a small red star", "blue")


@pytest.fixture(scope="module")
def mixed(tiny_folder: Path) -> PackedModel:
    model = open_model(find_model(tiny_folder), device="cpu", dtype="mixed", threads=1)
    assert isinstance(model, PackedModel)
    return model


@pytest.mark.parametrize(("able", "picked"), [(True, MIXED), (False, FLOAT32)])
def test_auto_on_a_cpu_goes_by_what_it_multiplies(
    monkeypatch: pytest.MonkeyPatch, able: bool, picked: Precision
) -> None:
    monkeypatch.setattr(checkpoint, "multiplies_bfloat16", lambda device: able)
    assert pick_precision("auto", CPU) == picked
    assert pick_precision("mixed", CPU) == MIXED  # who asks for it gets it, fast or not
    assert pick_precision("float32", CPU) == FLOAT32


def test_auto_on_a_gpu_is_bfloat16() -> None:
    assert pick_precision("auto", torch.device("cuda")) == BFLOAT16


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ModelFolderError, match="'int3' is not one of auto, mixed, float32"):
        pick_precision("int3", CPU)


def test_an_older_torch_knows_of_no_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert multiplies_bfloat16(CPU) is False


def test_only_the_layers_matrices_are_narrow(mixed: PackedModel) -> None:
    assert mixed._tower is not None
    for fused in (mixed._decoder.fused, mixed._tower.fused):
        assert {weight.dtype for weight, _ in fused.weights} == {torch.bfloat16}
    assert mixed._model.get_input_embeddings().weight.dtype == torch.float32
    assert mixed._decoder.rows(1, 1).kept.dtype == torch.float32


def test_it_says_nearly_what_float32_says(mixed: PackedModel, packed: PackedModel) -> None:
    asked = [prompt(text, seed, OPTIONS) for seed, text in enumerate(TEXTS)]
    for one, other in zip(ask(mixed, *asked), ask(packed, *asked), strict=True):
        assert one.options == pytest.approx(other.options, abs=0.05)
        assert one.options != other.options


@pytest.mark.parametrize("options", [(), OPTIONS])
def test_an_answer_does_not_depend_on_the_batch(
    mixed: PackedModel, options: tuple[str, ...]
) -> None:
    asked = [prompt(text, seed, options) for seed, text in enumerate(TEXTS * 3)]
    mixed.forget()
    together = ask(mixed, *asked)
    for one, other in zip(asked, together, strict=True):
        mixed.forget()
        (alone,) = ask(mixed, one)
        assert [token.id for token in alone.tokens] == [token.id for token in other.tokens]
        for a, b in zip(alone.tokens, other.tokens, strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-3)


def test_adapters_stay_with_their_rows(
    tiny_folder: Path, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    model = open_model(find_model(tiny_folder), device="cpu", dtype="mixed", threads=1)
    exact = open_model(find_model(tiny_folder), device="cpu", dtype="float32", threads=1)
    path = make_adapter(tmp_path / "a")
    for each in (model, exact):
        each.load_adapter("a", path)
    asked = prompt(TEXTS[0], 1, OPTIONS)
    (base,), (right,) = ask(model, asked), ask(exact, asked, adapter="a")
    jobs = [Job(asked), Job(asked, adapter="a"), Job(prompt(TEXTS[1], 2), adapter="a")]
    model.answer(jobs)
    beside, adapted, _ = (job.future.result(0) for job in jobs)
    assert beside.options == pytest.approx(base.options, abs=1e-4)
    assert adapted.options == pytest.approx(right.options, abs=0.05) != base.options
    model.merge("a")
    model.forget()
    (merged,) = ask(model, asked, adapter="a")
    assert merged.options == pytest.approx(right.options, abs=0.05)
    assert merged.options != pytest.approx(base.options, abs=0.05)
