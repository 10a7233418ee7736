"""Train the bundled model on the generated world: `python -m model_server.training.pretrain`.

First the vision tower alone learns what lies in every patch, then everything learns to answer. The schedule follows
the steps taken or the time spent training, and a run that was stopped goes on where its last saved state left it. Runs
on the first GPU if there is one. Log lines are JSON. Knows nothing of Label Studio.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, PreTrainedTokenizerFast, VipLlavaForConditionalGeneration

from model_server.architectures import tokenizer as tokens
from model_server.architectures.tiny import Shape, build_model
from model_server.training.export import export, world_tokenizer
from model_server.training.machine import Averages, ThreadTuner, restart_tuned
from model_server.training.objective import (
    Batch,
    DenseHeads,
    Losses,
    collate,
    losses,
    optimisers,
    together,
)
from model_server.training.readings import Readouts
from model_server.training.settings import Settings, learning_rate
from model_server.training.state import Progress, restore, save
from model_server.training.stream import Encoded, Pool, Stream

__all__ = ["main", "train"]


def train(
    settings: Settings,
    work: Path,
    out: Path,
    *,
    report: Callable[[dict[str, Any]], None],
    compile: bool = False,
    save_every_s: float = 120.0,
    milestone: tuple[float, Path] | None = None,
    threads: int = 0,
) -> None:
    """Train until the run that `settings` describe is over, then export to `out`.

    `threads`: how many torch uses; 0 measures now and then whether one or all are faster, since neighbours come and
    go. `milestone`: after so many minutes the model as it is then is exported besides, to that folder. `work` keeps
    the state, saved every `save_every_s` seconds by rename; if it holds one, training goes on from there.
    Raises ValueError when the state in `work` was made with other settings.
    """
    work.mkdir(parents=True, exist_ok=True)
    learner = _Learner(settings, compile=compile)
    state_file = work / "state.pt"
    progress = restore(state_file, settings, learner.modules, learner.optims)
    saved = progress.spent
    report({"parameters": learner.size, "spent_s": round(progress.spent)})
    log, tuner = Averages(), ThreadTuner(os.cpu_count() or 1)
    with _Pictures(settings, learner, progress.step) as pictures:
        while (done := settings.done(progress.step, progress.spent)) < 1:
            began = time.monotonic()
            if threads == 0:
                tuner.choose(progress.step)
            tower = done < settings.tower_share
            items = pictures.draw(tower, progress.step)
            extra = [] if tower else pictures.draw(tower, progress.step, extra=True)
            found, loss = learner.learn(
                items, extra, done, progress.step, pictures.rng, tower=tower
            )
            progress.step += 1
            # A step that was held up by a sleeping machine must not eat the schedule.
            progress.spent += min(time.monotonic() - began, 60.0)
            tuner.note((time.monotonic() - began) / len(items))
            log.add(loss=loss, samples=len(items), **found.right)
            if progress.step % 50 == 0:
                where = {"step": progress.step, "spent_s": round(progress.spent)}
                report(where | {"threads": torch.get_num_threads()} | log.take())
            if progress.spent - saved > save_every_s:
                save(state_file, settings, learner.modules, learner.optims, progress)
                saved = progress.spent
            if milestone is not None and progress.spent > milestone[0] * 60:
                learner.export(settings, milestone[1], progress)
                report({"milestone": milestone[1].name, "step": progress.step})
                milestone = None
    save(state_file, settings, learner.modules, learner.optims, progress)
    learner.export(settings, out, progress)
    spent = round(progress.spent)
    report({"done": True, "step": progress.step, "spent_s": spent, "out": out.name})


class _Learner:
    """The model with its readouts and optimisers."""

    def __init__(self, settings: Settings, *, compile: bool) -> None:
        self.settings = settings
        self.shape = shape = Shape()
        if settings.width:
            width = settings.width
            self.shape = replace(
                shape, vision_width=width, text_width=width, text_hidden=width * 8 // 3
            )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(settings.seed)
        self.tokenizer, self.model = _model(settings, self.shape)
        # CPU kernels for fused attention are slow backwards; plain matrix products are twice as fast.
        self.model.set_attn_implementation("eager")
        self.model.to(self.device).train()
        self.heads = DenseHeads(self.shape.vision_width).to(self.device)
        self.readouts = Readouts(self.shape.text_width).to(self.device)
        self.optims = optimisers(
            self.model,
            (self.heads, self.readouts),
            matrix_lr=settings.matrix_lr,
            other_lr=settings.other_lr,
        )
        names = (tokens.IMAGE, tokens.USER, tokens.PAD)
        self._ids = tuple(self.tokenizer.convert_tokens_to_ids(name) for name in names)
        self._run = torch.compile(losses, dynamic=False) if compile else losses

    @property
    def modules(self) -> tuple[torch.nn.Module, ...]:
        return (self.model, self.heads, self.readouts)

    @property
    def size(self) -> int:
        """How many parameters the model has, readouts not counted."""
        return sum(p.numel() for p in self.model.parameters())

    def learn(
        self,
        items: list[Encoded],
        extra: list[Encoded],
        done: float,
        step: int,
        rng: np.random.Generator,
        *,
        tower: bool,
    ) -> tuple[Losses, float]:
        """Take one step at `done` of the run; `tower` leaves the texts out, as they always are for `extra`."""
        settings = self.settings
        rate = learning_rate(done, start=0.0 if tower else settings.tower_share)
        for optim in self.optims:
            for group in optim.param_groups:
                group.setdefault("full_lr", group["lr"])
                group["lr"] = group["full_lr"] * rate
        alone = bool(settings.start) and step < settings.readout_steps
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            batches = self._batches(items, extra, rng, tower=tower)
            found = together([self._losses(batch, alone) for batch in batches], batches)
        loss = found.dense
        if found.answer is not None:
            loss = found.answer + settings.dense_weight * loss
        for term, _ in found.readings.values():
            loss = loss + settings.reading_weight * term
        loss.backward()
        every = [p for module in self.modules for p in module.parameters()]
        torch.nn.utils.clip_grad_norm_(every, 1.0)
        for optim in self.optims:
            optim.step()
            optim.zero_grad(set_to_none=True)
        return found, float(loss.detach())

    def _batches(
        self,
        items: list[Encoded],
        extra: list[Encoded],
        rng: np.random.Generator,
        *,
        tower: bool,
    ) -> list[Batch]:
        """Examples that are asked about by how many pictures they have, and the others."""
        if tower:
            return [collate(items, self.shape, rng, ids=None, tokens=0)]
        alike: dict[int, list[Encoded]] = {}
        for item in items:
            alike.setdefault(len(item.pixels), []).append(item)
        asked: dict[str, Any] = {
            "ids": self._ids,
            "tokens": self.settings.text_tokens,
            "comparing": self.settings.comparing,
        }
        batches = [collate(alike[count], self.shape, rng, **asked) for count in sorted(alike)]
        return [*batches, *([collate(extra, self.shape, rng, ids=None, tokens=0)] if extra else [])]

    def _losses(self, batch: Batch, alone: bool) -> Losses:
        return self._run(
            self.model, self.heads, self.readouts, batch.to(self.device), readouts_only=alone
        )

    def export(self, settings: Settings, out: Path, progress: Progress) -> None:
        export(self.model, self.tokenizer, settings, out, step=progress.step)


def _model(
    settings: Settings, shape: Shape
) -> tuple[PreTrainedTokenizerFast, VipLlavaForConditionalGeneration]:
    """A fresh model and tokenizer, or those of the folder to go on from."""
    if not settings.start:
        tokenizer = world_tokenizer(settings.seed, settings.vocabulary)
        return tokenizer, build_model(tokenizer, shape, seed=settings.seed)
    tokenizer = AutoProcessor.from_pretrained(settings.start).tokenizer
    model = VipLlavaForConditionalGeneration.from_pretrained(settings.start, dtype=torch.float32)
    return tokenizer, model


class _Pictures:
    """The pool of rendered pictures and the workers that refill it as it is used."""

    def __init__(self, settings: Settings, learner: _Learner, step: int) -> None:
        self.settings, self._learner = settings, learner
        # A run that goes on sees other pictures than before it was stopped.
        self.rng = np.random.default_rng([settings.seed, step, 3])
        self._pool, self._used = Pool(settings.pool), 0.0
        self._stream: Stream | None = None
        self._tower: bool | None = None

    def __enter__(self) -> _Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def draw(self, tower: bool, step: int, *, extra: bool = False) -> list[Encoded]:
        """A batch from the pool, after as many fresh pictures as the last ones have used up.

        `extra`: of pictures that only the labels are learnt of.
        """
        settings = self.settings
        stream = self._stream
        if stream is None or tower != self._tower:
            stream = self._start(tower, step)
        while len(self._pool) < 20 * settings.tower_batch or self._used > 0:
            fresh = stream.take()
            self._pool.add(fresh)
            self._used = max(0.0, self._used - len(fresh))
        count = settings.tower_batch if tower else settings.extra if extra else settings.batch
        self._used += count / (settings.tower_reuse if tower or extra else settings.reuse)
        return self._pool.sample(self.rng, count)

    def _start(self, tower: bool, step: int) -> Stream:
        settings = self.settings
        if self._stream is not None:
            self._stream.close()
        self._tower = tower
        self._stream = Stream(
            self._learner.tokenizer,
            settings.view,
            self._learner.shape,
            [settings.seed, step, 5],
            pairs=settings.tower_pairs if tower else settings.pairs,
            vary=bool(settings.vary),
            workers=settings.workers,
        )
        return self._stream


def _arguments(argv: list[str] | None) -> tuple[Settings, dict[str, Any]]:
    defaults = asdict(Settings())
    parser = argparse.ArgumentParser(
        prog="python -m model_server.training.pretrain", description=__doc__
    )
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--work", type=Path, default=Path("runs/pretrain"), help="resumable state")
    parser.add_argument("--threads", type=int, default=0, help="0: one or all, whichever is faster")
    parser.add_argument("--milestone", type=float, help="minutes after which to export once early")
    parser.add_argument("--compile", action="store_true", help="compile the model first")
    for name, value in defaults.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value)
    options = vars(parser.parse_args(argv))
    return Settings(**{name: options.pop(name) for name in defaults}), options


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    settings, options = _arguments(argv)
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    out, early = options["out"], options["milestone"]
    train(
        settings,
        options["work"],
        out,
        compile=options["compile"],
        threads=options["threads"],
        milestone=None if early is None else (early, out.with_name(out.name + ".early")),
        report=lambda line: print(json.dumps(line), flush=True),
    )


if __name__ == "__main__":
    restart_tuned("model_server.training.pretrain")
    main()
