"""The compiled passes are compiled, and say what they say as they are written."""

from __future__ import annotations

import pytest
import torch

from model_server import layers

pytestmark = pytest.mark.model


def test_all_passes_compile() -> None:
    # Whatever cannot be compiled runs all the same, only slower: nobody would see it.
    for run in (layers._compiled_run, layers._compiled_see, layers._compiled_step):
        assert isinstance(run, torch.jit.ScriptFunction)


@pytest.mark.parametrize("low", [False, True])
def test_seeing_compiled_is_seeing(low: bool) -> None:
    generator = torch.Generator().manual_seed(0)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) / shape[-1] ** 0.5

    sizes = ((8,), (8,), (24, 8), (24,), (8, 8), (8,), (8,), (8,), (16, 8), (16,), (8, 16), (8,))
    weights = [some(*size) for _ in range(3) for size in sizes]
    ranks = ((2, 8), (24, 2), (0,), (0,), (2, 8), (16, 2), (0,), (0,))
    parts = [some(*size) for _ in range(3) for size in ranks] if low else []
    x = some(2, 5, 8)
    args = (x, weights, parts, [3, 0, 1], 2, 1e-5, 3)
    for _ in range(3):
        made = layers.see_layers(*args)
        assert made.shape == (2, 5, 24) and torch.allclose(made, layers._see(*args), atol=1e-6)
    assert torch.equal(made[..., 8:16], x)
