"""Whether a fine-tuning run fits beside what uses the memory already, the serving model above all.

An estimate from the model's size, refused before the run rather than killed in the middle of it.
Knows nothing of data.
"""

from __future__ import annotations

import psutil
import torch
from torch import nn

from model_server.errors import TrainingError

__all__ = ["check_memory", "needed_bytes"]

_TOKENS = 1024
_SPARE = 0.25e9


def needed_bytes(
    weights: int, learning: int, *, layers: int, width: int, heads: int, batch: int, tokens: int
) -> int:
    """Bytes of memory that a run takes at most, beside its base model.

    Adapter weights with their gradients and both of AdamW's moments are 16 bytes a parameter in
    float32. Activations kept for the backward pass are s·b·h·(34 + 5·a·s/h) bytes per layer in 16
    bits (Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models",
    eq. 1), twice that in float32.

    Args:
        weights: bytes of the base model's weights that are still to be loaded.
        learning: how many parameters learn.
        layers, width, heads: of the language model.
        batch, tokens: examples a step, and tokens an example.
    """
    per_layer = tokens * batch * width * (34 + 5 * heads * tokens / width)
    return round(weights + 16 * learning + 2 * layers * per_layer)


def check_memory(model: nn.Module, device: torch.device, *, batch: int) -> dict[str, int]:
    """Compare what training `model` takes with what is free now; both in bytes, for the report.

    Raises TrainingError with both figures when it does not fit.
    """
    config = model.config.get_text_config()  # type: ignore[union-attr, operator]
    learning = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    tokens = min(_TOKENS, int(getattr(config, "max_position_embeddings", _TOKENS)))
    needed = needed_bytes(
        0,
        learning,
        layers=int(config.num_hidden_layers),
        width=int(config.hidden_size),
        heads=int(config.num_attention_heads),
        batch=batch,
        tokens=tokens,
    )
    cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if cuda else psutil.virtual_memory().available
    if needed + _SPARE > free:
        raise TrainingError(
            f"Training needs about {needed / 1e9:.1f} GB more, and {free / 1e9:.1f} GB are free on "
            f"{device} beside the model that is served: lower --batch-size or --rank, choose another "
            "--device, or train while nothing is served."
        )
    return {"needed": needed, "free": int(free)}
