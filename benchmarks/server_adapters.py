"""What adapters cost a batch: merged into the weights, and side by side. In this process, for `benchmarks.server`.

Knows no HTTP.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Claim
from benchmarks.server_questions import AskedView
from model_server.folder import BUNDLED, find_model

__all__ = ["adapter_costs"]


def adapter_costs(views: list[AskedView], times: int) -> list[Claim]:
    """The claims `adapter_cost_merged` and `adapter_cost_mixed`, of the best of so many times."""
    import torch

    from model_server.batches import Job
    from model_server.families import open_model
    from model_server.families.chat import question_turn
    from model_server.jobs import Picture, Prompt, Sampling

    model: Any = open_model(find_model(BUNDLED), device="cpu", threads=1)
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate("abc"):
            model.load_adapter(name, _adapter(Path(folder) / name, seed))
    pictures = [Picture.of(view.image) for view in views]
    prompts = [
        Prompt(
            question_turn(1, view.caption()[0].prompt),
            [picture],
            sampling=Sampling(max_tokens=8, min_tokens=8),
        )
        for view, picture in zip(views, pictures, strict=True)
    ]
    ready = [model.prepare(prompt) for prompt in prompts]

    def seconds(names: Sequence[str | None]) -> float:
        jobs = [
            Job(prompt, name, ready=made)
            for prompt, name, made in zip(prompts, names, ready, strict=True)
        ]
        model.forget()
        start = time.perf_counter()
        model.answer(jobs)
        return time.perf_counter() - start

    batches: dict[str, list[str | None]] = {
        "base": [None] * 8,
        "merged": ["a"] * 8,
        "mixed": [None, None, "a", "a", "b", "b", "c", "c"],
    }
    model.merge("a")
    best = dict.fromkeys(batches, float("inf"))
    for _ in range(times):
        for key, names in batches.items():
            best[key] = min(best[key], seconds(names))
    torch.set_num_threads(1)
    return [
        Claim(
            f"adapter_cost_{key}",
            best[key] / best["base"],
            "x",
            f"{what}: {1000 * best[key]:.1f} ms beside {1000 * best['base']:.1f} ms",
            bar=bar,
            at_most=True,
        )
        for key, bar, what in (
            ("merged", 1.05, "8 captions, one adapter"),
            ("mixed", 2.2, "8 captions, 3 adapters and the base"),
        )
    ]


def _adapter(folder: Path, seed: int) -> Path:
    import torch
    from transformers import AutoModelForImageTextToText

    from model_server.training.finetune_lora import add_lora

    torch.manual_seed(seed)
    base = AutoModelForImageTextToText.from_pretrained(BUNDLED, dtype=torch.float32)
    lora = add_lora(base, rank=16, targets="all", base=str(BUNDLED))
    with torch.no_grad():
        for name, weight in lora.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.01)
    lora.save_pretrained(folder)
    return folder
