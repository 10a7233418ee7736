"""Which layers of a model a LoRA adapter changes, and the adapter around the model.

Adapters change the language model and the projector by default; servers such as vLLM ignore or
refuse adapters on the vision tower. A small vision tower may have to learn what a new material looks
like, so `all` includes it. Knows nothing of data.
"""

from __future__ import annotations

from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from model_server.errors import TrainingError

__all__ = ["TARGETS", "add_lora", "target_layers"]

TARGETS = ("language", "all")

# Names that transformers gives to vision towers, and to projectors that live inside some of them.
_VISION = {"vision_tower", "vision_model", "visual", "vision_encoder", "image_encoder"}
_PROJECTOR = {"merger", "connector", "multi_modal_projector", "mm_projector"}


def target_layers(model: PreTrainedModel, targets: str) -> list[str]:
    """Full names of the linear layers to adapt; the output head stays as it is.

    Raises TrainingError for an unknown `targets` or a model without such layers.
    """
    if targets not in TARGETS:
        raise TrainingError(f"--targets {targets!r} is not one of {', '.join(TARGETS)}.")
    head = model.get_output_embeddings()
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module is not head
        and (targets == "all" or not _in_tower(name))
    ]
    if not names:
        raise TrainingError(f"{type(model).__name__} has no linear layers to adapt.")
    return names


def add_lora(
    model: PreTrainedModel, *, rank: int, targets: str, base: str, resume: Path | None = None
) -> PeftModel:
    """Wrap the model with a trainable adapter: a fresh one, or that of a checkpoint.

    The scale alpha / rank is 2, whatever the rank. Weights of the adapter are float32.
    """
    if resume is not None:
        return PeftModel.from_pretrained(model, str(resume), is_trainable=True)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=target_layers(model, targets),
    )
    wrapped = get_peft_model(model, config)
    # peft writes down where the model was loaded from, which may be a relative path.
    wrapped.peft_config["default"].base_model_name_or_path = base
    return wrapped


def _in_tower(name: str) -> bool:
    steps = set(name.split("."))
    return bool(steps & _VISION) and not steps & _PROJECTOR
