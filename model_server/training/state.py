"""The state of a pretraining run on disk: saved by rename, and refused under other settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from model_server.training.settings import Settings

__all__ = ["Progress", "restore", "save"]


@dataclass
class Progress:
    """How far a run is: steps taken, seconds spent training."""

    step: int = 0
    spent: float = 0.0


def save(
    path: Path,
    settings: Settings,
    modules: Sequence[torch.nn.Module],
    optims: Sequence[torch.optim.Optimizer],
    progress: Progress,
) -> None:
    """Write everything that a run needs to go on."""
    state = {
        "settings": asdict(settings),
        "modules": [module.state_dict() for module in modules],
        "optims": [optim.state_dict() for optim in optims],
        "spent": progress.spent,
        "step": progress.step,
    }
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    os.replace(fresh, path)


def restore(
    path: Path,
    settings: Settings,
    modules: Sequence[torch.nn.Module],
    optims: Sequence[torch.optim.Optimizer],
) -> Progress:
    """Put a saved state into the modules and optimisers; without a file nothing happens.

    Raises ValueError when the state was saved with other settings.
    """
    if not path.exists():
        return Progress()
    state = torch.load(path, weights_only=True, map_location="cpu")
    if state["settings"] != asdict(settings):
        different = {k for k, v in asdict(settings).items() if state["settings"].get(k) != v}
        raise ValueError(
            f"{path.name} was saved with another {', '.join(sorted(different))}; "
            "use the same settings or another --work folder"
        )
    for module, weights in zip(modules, state["modules"], strict=True):
        module.load_state_dict(weights)
    for optim, saved in zip(optims, state["optims"], strict=True):
        optim.load_state_dict(saved)
    return Progress(int(state["step"]), float(state["spent"]))
