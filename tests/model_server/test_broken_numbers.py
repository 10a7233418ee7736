"""Weights or an overflow that make no numbers: who asked is told so, and nobody else notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_server.adapters import read_adapter
from model_server.batches import Job
from model_server.errors import AdapterError, RequestError
from model_server.families.overlay import OverlayModel
from model_server.families.packed import PackedModel
from tests.model_server.answering import ask, prompt
from tests.model_server.conftest import TEXTS

pytestmark = pytest.mark.model

OPTIONS = ("red", "green as grass", "a colour that nobody has seen so far")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_adapter_that_diverged_is_refused(
    packed: PackedModel, make_adapter: Callable[..., Path], tmp_path: Path, value: float
) -> None:
    path = make_adapter(tmp_path / "a")
    file = path / "adapter_model.safetensors"
    tensors = load_file(file)
    name = sorted(tensors)[0]
    tensors[name][0, 0] = value
    save_file(tensors, file)
    with pytest.raises(AdapterError, match="diverged") as raised:
        read_adapter(packed._model, path)
    assert "q_proj" in str(raised.value) or "down_proj" in str(raised.value)


@pytest.fixture
def poisoned(
    packed: PackedModel, make_adapter: Callable[..., Path], tmp_path: Path
) -> Iterator[PackedModel]:
    """With an adapter "broken" under which nothing is a number, as after an overflow."""
    packed.load_adapter("broken", make_adapter(tmp_path / "a"))
    for part in packed._decoder.fused.low("broken"):
        part.fill_(float("nan"))
    yield packed
    packed.unload_adapter("broken")
    packed.forget()


def test_what_was_read_of_a_picture_and_is_no_number_is_not_kept(
    poisoned: PackedModel,
) -> None:
    poisoned.forget()
    with pytest.raises(RequestError, match="not numbers"):
        ask(poisoned, prompt(TEXTS[0], 3), adapter="broken")
    assert poisoned._memory.held() == []


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([[-torch.inf], [-1.0]], "b"),
        ([[-torch.inf], [-torch.inf]], None),
        ([[torch.nan], [-1.0]], None),
    ],
)
def test_a_choice_among_scores_that_are_no_numbers(
    packed: PackedModel, scores: list[list[float]], said: str | None
) -> None:
    job = Job(prompt(TEXTS[0], 0, ("a", "b")))
    packed._writer.choose(job, [[5], [6]], scores, length=9)
    if said is None:
        with pytest.raises(RequestError, match="not numbers"):
            job.future.result(0)
    else:
        assert job.future.result(0).text == said


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.7, "seed": 1}, {"top_logprobs": 2}])
def test_answers_that_are_no_numbers_fail_alone_and_leave_nothing_behind(
    poisoned: PackedModel, sampling: dict[str, float]
) -> None:
    asked = [prompt(text, seed, max_tokens=6) for seed, text in enumerate(TEXTS)]
    expected = ask(poisoned, *asked)
    poisoned.forget()
    broken = [
        Job(prompt(TEXTS[0] + " and more of it" * 3, 5, options, **sampling), "broken")
        for options in ((), OPTIONS)
    ]
    fine = [Job(one) for one in asked]
    poisoned.answer([*fine, *broken])
    for job in broken:
        with pytest.raises(RequestError, match="not numbers") as raised:
            job.future.result(0)
        assert raised.value.status == 500
    for said in ([job.future.result(0) for job in fine], ask(poisoned, *asked)):
        assert [one.text for one in said] == [one.text for one in expected]
        for one, other in zip(said, expected, strict=True):
            assert [t.logprob for t in one.tokens] == pytest.approx(
                [t.logprob for t in other.tokens], abs=1e-3
            )


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_the_general_way_tells_it_too(general: OverlayModel, value: float) -> None:
    head = general._model.get_output_embeddings()
    hook = head.register_forward_hook(lambda module, args, out: torch.full_like(out, value))
    try:
        for options in ((), OPTIONS):
            with pytest.raises(RequestError, match="not numbers"):
                ask(general, prompt(TEXTS[0], 0, options))
    finally:
        hook.remove()
