"""The training loop: supervised steps, then preference steps, with checkpoints in between.

Everything random follows from the seed and the step, so a run that was killed and resumed gives the
adapter that it would have given. Knows nothing of command lines.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from model_server.errors import TrainingError
from model_server.families.checkpoint import load_checkpoint, multiplies_bfloat16
from model_server.folder import ModelFolder
from model_server.training.finetune_batches import Batches, answer_logprobs, answer_sums
from model_server.training.finetune_checkpoints import Workplace, open_workplace
from model_server.training.finetune_data import data_hash, read_items, read_pairs, replay_items
from model_server.training.finetune_lora import add_lora
from model_server.training.finetune_memory import check_memory
from model_server.training.finetune_plan import Planner, plan_pairs, plan_steps
from model_server.training.finetune_preferences import preference_losses, reference_logprobs
from model_server.training.finetune_ranks import Ranks
from model_server.training.finetune_settings import Settings

__all__ = ["Tell", "finetune"]

Tell = Callable[[int, int, float, str, float | None], None]

_WIDTH_RATE = 0.3
# Preferences move a model that is right already.
_PREFERENCE_RATE = 0.1
_REFERENCE = "reference.pt"


def finetune(
    base: ModelFolder,
    data: Path,
    out: Path,
    settings: Settings,
    *,
    resume: bool = False,
    save_every: int = 25,
    device: str = "auto",
    ranks: Ranks | None = None,
    progress: Tell = lambda step, of, loss, phase, eta_s: None,
) -> dict[str, Any]:
    """Train an adapter for `base` on the folder DATA and write it to `out`; returns run.json.

    Args:
        data: holds train.jsonl and, for `settings.dpo`, preferences.jsonl.
        progress: called as ``progress(step, of, loss, phase, eta_s)`` with the mean loss of the
            last steps, what is done ("corrections" or "preferences"), and the seconds left.
        resume: go on from the last complete checkpoint of a stopped run with these settings.
        ranks: this process among those that train together.

    Raises TrainingError or ModelFolderError; nothing appears at `out` then.
    """
    began = time.monotonic()
    ranks = ranks or Ranks()
    new = read_items(data)
    pairs = read_pairs(data) if settings.dpo else []
    identity = {"base": base.source, "data": data_hash(data), **asdict(settings)}
    place = _open(out, identity, resume, ranks)
    if (done := place.finished()) is not None:
        return done

    # Explicit attention: torch's fused one is slow in the backward pass on a CPU.
    model, processor = load_checkpoint(
        base, device=ranks.device or device, attn_implementation="eager"
    )
    batches = Batches(
        model,
        processor,
        new,
        frozen_tower=settings.targets == "language",
    )
    right = batches.answered_right()
    plan = plan_steps(right, settings, has_world=base.world is not None and settings.replay > 0)
    batches.add(replay_items(base, plan.replay, settings.seed))
    first_pair = len(batches)
    batches.add([item for pair in pairs for item in (pair.chosen, pair.rejected)])
    preferring = plan_pairs(first_pair, len(pairs), plan.planner, settings) if pairs else None

    width = int(model.config.get_text_config().hidden_size)
    settings = replace(settings, lr=settings.lr or _WIDTH_RATE / width)
    torch.manual_seed(settings.seed)
    checkpoint = place.last()
    lora = add_lora(
        model, rank=settings.rank, targets=settings.targets, base=base.source, resume=checkpoint
    )
    lora.train()
    learning = [weight for weight in lora.parameters() if weight.requires_grad]
    memory = check_memory(lora, model.device, batch=settings.batch_size)
    mixed = settings.dtype == "bfloat16" or (
        settings.dtype == "auto" and multiplies_bfloat16(model.device)
    )
    loop = _Loop(
        model=model,
        lora=lora,
        batches=batches,
        learning=learning,
        optimizer=torch.optim.AdamW(learning, lr=settings.lr, weight_decay=0.0),
        settings=settings,
        ranks=ranks,
        place=place,
        mixed=mixed,
        supervised=plan.steps,
        planner=plan.planner,
        preferred=preferring.steps if preferring else 0,
        pairs=preferring.planner if preferring else None,
        first_pair=first_pair,
        progress=progress,
    )
    first = loop.start_from(checkpoint)
    loop.go(first, save_every)
    run = {
        "identity": identity,
        "base": base.source,
        "base_name": base.name,
        "settings": {**asdict(settings), "steps": plan.steps},
        "counts": {
            "new": len(new),
            "wrong_before": right.count(False),
            "replay": plan.replay,
            "pairs": len(pairs),
        },
        "data_sha256": identity["data"],
        "loss": loop.summary(),
        "memory": memory,
        "resumed_at": first,
        "processes": ranks.count,
        "seconds": round(time.monotonic() - began, 1),
        "seed": settings.seed,
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }
    if ranks.first:
        place.finish(lora, run)
    ranks.wait()
    return run


@dataclass
class _Loop:
    """What the steps of one run share."""

    model: PreTrainedModel
    lora: PeftModel
    batches: Batches
    learning: Sequence[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    settings: Settings
    ranks: Ranks
    place: Workplace
    mixed: bool
    supervised: int
    planner: Planner
    preferred: int
    pairs: Planner | None
    first_pair: int
    progress: Tell
    losses: list[float] = field(default_factory=list)
    before: Tensor | None = None

    def start_from(self, checkpoint: Path | None) -> int:
        """Take up the optimiser of a checkpoint; the number of steps that are done."""
        if checkpoint is None:
            return 0
        state = torch.load(checkpoint / "optimizer.pt", weights_only=True)
        self.optimizer.load_state_dict(state)
        return int(checkpoint.name.removeprefix("step-"))

    def go(self, first: int, save_every: int) -> None:
        """Do the steps from `first` on. Raises TrainingError when the loss is no number any more."""
        steps = self.supervised + self.preferred
        began = time.monotonic()
        for step in range(first, steps):
            if step >= self.supervised and self.before is None:
                self.before = self._reference(resumed=step == first and step > self.supervised)
            loss = self._step(step)
            self.losses.append(loss)
            done = step + 1
            if not math.isfinite(loss):
                raise TrainingError(f"The loss is {loss} at step {done}; lower --lr.")
            if self.ranks.first and (done % 5 == 0 or done == steps):
                recent = self.losses[-5:]
                eta = (time.monotonic() - began) / (done - first) * (steps - done)
                phase = "corrections" if step < self.supervised else "preferences"
                self.progress(done, steps, sum(recent) / len(recent), phase, eta)
            if self.ranks.first and done % save_every == 0 and done < steps:
                self.place.save(self.lora, self.optimizer, done)

    def summary(self) -> dict[str, float]:
        """The first and the last losses."""
        last = self.losses[-10:]
        return {"first": self.losses[0], "last": sum(last) / len(last)}

    def _step(self, step: int) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr(step)
        if step < self.supervised:
            loss = self._supervise(self.planner.batch(step))
        else:
            loss = self._prefer(step - self.supervised)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.ranks.sum_gradients(self.learning)
        torch.nn.utils.clip_grad_norm_(self.learning, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(self.ranks.sum(loss))

    def _supervise(self, indices: Sequence[int]) -> Tensor:
        """This process's share of the batch's mean loss."""
        mine = self.ranks.part(indices)
        logits, labels = self._said(mine)
        total, count = answer_sums(logits, labels)
        if self.ranks.is_extra(indices):
            total, count = total * 0.0, count * 0
        return total / self.ranks.sum(count)

    def _prefer(self, step: int) -> Tensor:
        """The loss of some pairs, and that of old examples beside them."""
        assert self.pairs is not None and self.before is not None
        drawn = self.pairs.batch(step)
        chosen = [index for index in drawn if index >= self.first_pair]
        mine = self.ranks.part(chosen)
        both = [*mine, *(index + 1 for index in mine)]
        logits, labels = self._said(both)
        now = answer_logprobs(logits, labels)
        before = self.before[torch.tensor(both) - self.first_pair].to(now.device)
        count = len(mine)
        losses = preference_losses(
            now[:count], now[count:], before[:count], before[count:], self.settings.beta
        )
        share = 0.0 if self.ranks.is_extra(chosen) else 1.0 / len(chosen)
        old = [index for index in drawn if index < self.first_pair]
        return losses.sum() * share + self._supervise(old)

    def _said(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        inputs, labels = self.batches.batch(indices)
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.mixed):
            logits = self.model(**inputs, use_cache=False).logits
        return logits, labels

    def _reference(self, *, resumed: bool) -> Tensor:
        """What the model, as the supervised steps left it, made of every pair; kept for a resumed run."""
        kept = self.place.kept(_REFERENCE) if resumed else None
        if kept is not None:
            return kept  # type: ignore[no-any-return]
        indices = range(self.first_pair, len(self.batches))
        found = reference_logprobs(self.model, self.batches, indices).cpu()
        if self.ranks.first:
            self.place.keep(_REFERENCE, found)
        self.ranks.wait()
        return found

    def _lr(self, step: int) -> float:
        if step < self.supervised:
            return self.settings.lr * _rate(step, self.supervised)
        done = step - self.supervised
        return self.settings.lr * _PREFERENCE_RATE * _rate(done, self.preferred)


def _open(out: Path, identity: dict[str, Any], resume: bool, ranks: Ranks) -> Workplace:
    """The first process prepares the folders, the others find them so."""
    if ranks.first:
        place = open_workplace(out, identity=identity, resume=resume)
    ranks.wait()
    return place if ranks.first else open_workplace(out, identity=identity, resume=True)


def _rate(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
