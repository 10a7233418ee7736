"""How a fine-tuning run learns: the settings, and the ones that a model folder recommends.

Knows nothing of torch, so that the command line answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_server.errors import TrainingError
from model_server.folder import ModelFolder

__all__ = ["Settings", "settings_for"]


@dataclass(frozen=True)
class Settings:
    """How a run learns. A model folder's `regiontext.json` may recommend its own under "finetune".

    Attributes:
        steps: optimiser steps; 0 means `passes` visits of every new example that the model gets
            wrong, more for few examples, at most `max_steps` for many.
        passes: how often such an example is visited when `steps` is 0.
        max_steps: bound on what `passes` may ask for.
        batch_size: examples per step, new and replayed together.
        lr: peak learning rate of AdamW; 0 means 0.3 / width of the language model: 1.6e-3 for
            the bundled model, 7e-5 for one of 7 billion parameters. It warms up over a twentieth of
            the steps, then falls along a cosine to a tenth.
        rank: LoRA rank.
        replay: old examples per new one, at least 3 against forgetting. Old are samples of the
            world that the model names; for other models, records that it already gets right.
        focus: share of the new examples in a batch that the model gets wrong; the others are ones
            that it gets right and must not lose.
        targets: ``language`` or ``all``.
        dpo: visits of every preference pair after the supervised steps; 0 leaves them out.
        beta: how far preferences may move the model (Rafailov et al. 2023, eq. 7).
        dtype: ``float32``, ``bfloat16`` for mixed precision, or ``auto``: bfloat16 where the
            hardware multiplies it faster.
        seed: of the adapter's start, the replayed world and the order of examples.
    """

    steps: int = 0
    passes: float = 1.5
    max_steps: int = 200
    batch_size: int = 24
    lr: float = 0.0
    rank: int = 16
    replay: float = 5.0
    focus: float = 0.75
    targets: str = "language"
    dpo: float = 0.0
    beta: float = 0.1
    dtype: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with: raises TrainingError."""
        for name in ("steps", "lr", "replay", "dpo"):
            if getattr(self, name) < 0:
                raise TrainingError(f"--{name} is {getattr(self, name)}; it must be 0 or more.")
        for name in ("passes", "max_steps", "batch_size", "rank", "beta"):
            if getattr(self, name) <= 0:
                option = name.replace("_", "-")
                raise TrainingError(f"--{option} is {getattr(self, name)}; it must be more than 0.")
        if not 0 < self.focus <= 1:
            raise TrainingError(f"--focus is {self.focus}; it must lie above 0 and not above 1.")


def settings_for(base: ModelFolder, given: Mapping[str, Any]) -> Settings:
    """The settings of a run: what was given (None is not), then the model's own, then the defaults.

    Raises TrainingError for a recommendation that there is no setting for.
    """
    recommended = {"targets": base.lora_targets, **(base.finetune or {})}
    unknown = sorted(set(recommended) - set(Settings.__dataclass_fields__))
    if unknown:
        raise TrainingError(f"{base.source}/regiontext.json: finetune has no {unknown[0]!r}.")
    chosen = {name: value for name, value in given.items() if value is not None}
    return Settings(**{**recommended, **chosen})
