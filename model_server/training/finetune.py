"""Fine-tune a model on corrected records: `python -m model_server.training.finetune`.

A plain LoRA loop in torch and peft: it starts seconds sooner than a trainer framework and its batches
mix new records with replay of what the model already knows in a fixed ratio, because without replay
a small model answers the new word to everything. Progress goes to stdout as JSON lines
``{"step", "of", "loss"}``; the adapter folder appears by rename when it is complete. Knows nothing of
Label Studio.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_server.errors import ModelServerError, TrainingError
from model_server.folder import ModelFolder, find_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from model_server.training.finetune_batches import Planner

__all__ = ["Settings", "finetune", "main"]


@dataclass(frozen=True)
class Settings:
    """How a run learns. A model folder's `regiontext.json` may recommend its own under "finetune".

    Attributes:
        steps: optimiser steps; 0 means `passes` visits of every new record.
        passes: how often every new record that the model gets wrong is seen when `steps` is 0, within
            `max_steps`.
        max_steps: most steps that `passes` may ask for.
        focus: share of a batch's new records that are ones the model gets wrong; the others keep it right.
        batch_size: records per step, new and replayed together.
        lr: peak learning rate of AdamW; it warms up over a twentieth of the steps, then falls
            along a cosine to a tenth.
        rank: LoRA rank.
        replay: replayed samples per new one, when the model names the world it comes from.
        targets: ``language`` or ``all``.
        dtype: ``float32``, ``bfloat16`` for mixed precision, or ``auto``: bfloat16 where the
            hardware multiplies it faster.
        seed: of the adapter's start, the replayed world and the order of records.
    """

    steps: int = 0
    passes: int = 10
    max_steps: int = 150
    focus: float = 0.75
    batch_size: int = 32
    lr: float = 2e-4
    rank: int = 16
    replay: float = 3.0
    targets: str = "language"
    dtype: str = "auto"
    seed: int = 0


def finetune(
    base: ModelFolder,
    data: Path,
    out: Path,
    settings: Settings,
    *,
    resume: bool = False,
    save_every: int = 25,
    device: str = "auto",
    progress: Callable[[int, int, float], None] = lambda step, of, loss: None,
) -> dict[str, Any]:
    """Train an adapter for `base` on DATA/train.jsonl and write it to `out`; returns run.json.

    Args:
        progress: called as ``progress(step, of, loss)`` with the mean loss of the last steps.
        resume: go on from the last complete checkpoint of a stopped run with these settings.

    Raises TrainingError or ModelFolderError; nothing appears at `out` then.
    """
    import torch

    from model_server.families.checkpoint import load_checkpoint
    from model_server.training.finetune_batches import Batches, answer_loss
    from model_server.training.finetune_checkpoints import open_workplace
    from model_server.training.finetune_data import data_hash, read_items, replay_items
    from model_server.training.finetune_lora import add_lora

    began = time.monotonic()
    new = read_items(data)
    new_each, replay_each = _shares(settings, has_world=base.world is not None)
    identity = {"base": base.source, "data": data_hash(data), **asdict(settings)}
    place = open_workplace(out, identity=identity, resume=resume)
    pool = round(len(new) * settings.replay * 2) if replay_each else 0
    replay = replay_items(base, pool, settings.seed)

    # Explicit attention: torch's fused one is slow in the backward pass on a CPU.
    model, processor = load_checkpoint(
        base, device=device, dtype="float32", attn_implementation="eager"
    )
    batches = Batches(
        model, processor, [*new, *replay], frozen_tower=settings.targets == "language"
    )
    right = batches.answered_right(len(new))
    planner, steps = _plan(right, len(replay), new_each, replay_each, settings)
    torch.manual_seed(settings.seed)
    checkpoint = place.last()
    lora = add_lora(
        model,
        rank=settings.rank,
        targets=settings.targets,
        base=base.source,
        resume=checkpoint,
    )
    lora.train()
    learning = [weight for weight in lora.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=settings.lr, weight_decay=0.0)
    first = 0
    if checkpoint is not None:
        first = int(checkpoint.name.removeprefix("step-"))
        optimizer.load_state_dict(torch.load(checkpoint / "optimizer.pt", weights_only=True))
    mixed = settings.dtype == "bfloat16" or (settings.dtype == "auto" and _has_bfloat16(model))
    losses: list[float] = []
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * _rate(step, steps)
        inputs, labels = batches.batch(planner.batch(step))
        with torch.autocast(model.device.type, torch.bfloat16, enabled=mixed):
            logits = model(**inputs, use_cache=False).logits
        loss = answer_loss(logits, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        done = step + 1
        if not math.isfinite(losses[-1]):
            raise TrainingError(f"The loss is {losses[-1]} at step {done}; lower --lr.")
        if done % 5 == 0 or done == steps:
            progress(done, steps, sum(losses[-5:]) / len(losses[-5:]))
        if done % save_every == 0 and done < steps:
            place.save(lora, optimizer, done)
    run = {
        "base": base.source,
        "base_name": base.name,
        "settings": {**asdict(settings), "steps": steps},
        "counts": {"new": len(new), "replay": len(replay)},
        "data_sha256": identity["data"],
        "loss": {"first": losses[0], "last": sum(losses[-10:]) / len(losses[-10:])},
        "resumed_at": first,
        "seconds": round(time.monotonic() - began, 1),
        "seed": settings.seed,
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }
    place.finish(lora, run)
    return run


def _shares(settings: Settings, *, has_world: bool) -> tuple[int, int]:
    """How many new and how many replayed items make a batch."""
    replay = settings.replay if has_world else 0.0
    each = max(1, round(settings.batch_size / (1 + replay)))
    return each, round(each * replay)


def _plan(
    right: Sequence[bool], replay: int, new_each: int, replay_each: int, settings: Settings
) -> tuple[Planner, int]:
    """Batches of a fixed make-up, and how many; `right`: whether the model already answers each new item so."""
    from model_server.training.finetune_batches import Planner

    wrong = [index for index, known in enumerate(right) if not known]
    known = [index for index, known in enumerate(right) if known]
    replayed = range(len(right), len(right) + replay)
    wrong_each = round(new_each * settings.focus) if wrong and known else new_each * bool(wrong)
    groups = [(wrong, wrong_each), (known, new_each - wrong_each), (replayed, replay_each)]
    groups = [(group, each) for group, each in groups if each]
    planner = Planner(
        tuple(tuple(group) for group, _ in groups), tuple(each for _, each in groups), settings.seed
    )
    visits = settings.passes * (len(wrong) or len(known))
    wanted = max(20, math.ceil(visits / (wrong_each or new_each)))
    return planner, settings.steps or min(settings.max_steps, wanted)


def _has_bfloat16(model: PreTrainedModel) -> bool:
    import torch

    if model.device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def _rate(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        base = find_model(args.base)
        settings = _settings(base, args)
        if args.threads:
            import torch

            torch.set_num_threads(args.threads)
        if base.world is None:
            print("This model names no world to replay; it may forget.", file=sys.stderr)
        finetune(
            base,
            args.data,
            args.out.absolute(),
            settings,
            resume=args.resume,
            save_every=args.save_every,
            device=args.device,
            progress=_tell,
        )
    except ModelServerError as error:
        print(f"finetune: {error}", file=sys.stderr)
        return 2
    return 0


def _tell(step: int, of: int, loss: float) -> None:
    print(json.dumps({"step": step, "of": of, "loss": round(loss, 4)}), flush=True)


def _settings(base: ModelFolder, args: argparse.Namespace) -> Settings:
    names = Settings.__dataclass_fields__
    recommended = {"targets": base.lora_targets, **(base.finetune or {})}
    unknown = sorted(set(recommended) - set(names))
    if unknown:
        raise TrainingError(f"{base.source}/regiontext.json: finetune has no {unknown[0]!r}.")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return Settings(**{**recommended, **given})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model_server.training.finetune",
        description="Train a LoRA adapter on corrected records. Settings left out come from the "
        "model's regiontext.json, then from the defaults.",
    )
    parser.add_argument("--base", required=True, help="model folder or hub id")
    parser.add_argument("--data", required=True, type=Path, help="folder with train.jsonl")
    parser.add_argument("--out", required=True, type=Path, help="adapter folder to write")
    defaults = Settings()
    for name, kind in (
        *(("steps", int), ("passes", int), ("max-steps", int), ("focus", float)),
        *(("batch-size", int), ("lr", float), ("rank", int)),
        *(("replay", float), ("targets", str), ("dtype", str), ("seed", int)),
    ):
        default = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=kind, help=f"default {default}")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--save-every", type=int, default=25, help="steps between checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    return parser


def _tune_malloc() -> None:
    """Start again with a C allocator that keeps its memory: about three times the speed on a CPU."""
    wanted = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1"}
    if sys.platform == "linux" and not any(name in os.environ for name in wanted):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})


if __name__ == "__main__":
    _tune_malloc()
    sys.exit(main())
