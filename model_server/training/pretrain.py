"""Train the bundled model from scratch on the generated world: `python -m model_server.training.pretrain`.

First the vision tower alone learns what lies in every patch, then everything learns to answer. The schedule follows the
time spent training, so that `--minutes` is what it takes, and a run that was stopped goes on where its last saved state
left it. Log lines are JSON. Knows nothing of Label Studio.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, PreTrainedTokenizerFast, VipLlavaForConditionalGeneration

from model_server.architectures import tokenizer as tokens
from model_server.architectures.tiny import Shape, build_model, build_processor
from model_server.training.objective import DenseHeads, collate, losses, optimisers
from model_server.training.stream import Pool, Stream
from model_server.worlds import asking, vocabulary
from model_server.worlds.samples import bundled_view, examples
from model_server.worlds.scenes import VERSION
from regiontext.evidence import PREDICATES
from regiontext.marks.kinds import COLOURS
from regiontext.questions.wordings import PARAPHRASES, WORDINGS

__all__ = ["Settings", "export", "learning_rate", "main", "train", "world_tokenizer"]

NAME = "regiontext-mini"

# glibc gives memory back to the system after every step by default; keeping it makes CPU training several times faster.
# Threads that spin while they wait take the processor from each other on a busy machine.
_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "-1",
    "MALLOC_TOP_PAD_": "67108864",
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
}


@dataclass(frozen=True)
class Settings:
    """How to train; all that a resumed run must agree on."""

    minutes: float = 45.0
    start: str = ""
    readout_steps: int = 100
    scope: str = "crop"
    evidence: int = 1
    vary: int = 1
    tower_share: float = 0.33
    seed: int = 0
    tower_batch: int = 64
    batch: int = 32
    text_tokens: int = 168
    tower_pairs: float = 0.3
    pairs: float = 0.45
    matrix_lr: float = 3e-3
    other_lr: float = 1.5e-3
    dense_weight: float = 0.3
    tower_reuse: float = 2.5
    reuse: float = 1.25
    pool: int = 30000
    vocabulary: int = 1024
    workers: int = 1


def world_tokenizer(
    seed: int, vocabulary_size: int, *, samples: int = 400
) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the world's own questions; every word of a question or an answer becomes one token."""
    stream = examples([seed, 11], bundled_view())
    corpus = [
        text
        for example in islice(stream, samples)
        for turn in example.turns
        for text in (turn.prompt, turn.answer)
    ]
    rng = np.random.default_rng([seed, 12])
    corpus += [asking.spelling(rng)[1] for _ in range(samples)]
    spoken = {word for name in vocabulary.ATTRIBUTES for word in vocabulary.values(name)}
    spoken |= {word for names in asking.field_names().values() for word in names}
    spoken |= set(COLOURS) | {str(number) for number in range(101)}
    wordings = [*WORDINGS.values(), *(w for some in PARAPHRASES.values() for w in some)]
    for sentence in [*PREDICATES, *wordings]:
        spoken |= {w.strip("?.,:") for w in sentence.split() if "{" not in w} - {""}
    return tokens.train_tokenizer(corpus, vocabulary=vocabulary_size, words=spoken)


def learning_rate(
    done: float, *, start: float = 0.0, warm: float = 0.02, hold: float = 0.45
) -> float:
    """The share of the full rate at `done` of the run (0..1): a ramp from `start`, a plateau, a fall to 0."""
    ramp = min(1.0, (done - start) / warm + 0.02)
    fall = 1.0 if done < hold else max(0.0, (1 - done) / (1 - hold))
    return ramp * fall


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
    """Train until `settings.minutes` of training time are spent, then export to `out`.

    `threads`: how many torch uses; 0 measures now and then whether one or all are faster, since neighbours come and
    go. `milestone`: after so many minutes the model as it is then is exported besides, to that folder. `work` keeps
    the state, saved every `save_every_s` seconds by rename; if it holds one, training goes on from there.
    Raises ValueError when the state in `work` was made with other settings.
    """
    work.mkdir(parents=True, exist_ok=True)
    shape = Shape()
    view = replace(bundled_view(), scope=settings.scope, evidence=bool(settings.evidence))
    if settings.start:
        tokenizer = AutoProcessor.from_pretrained(settings.start).tokenizer
        model = VipLlavaForConditionalGeneration.from_pretrained(
            settings.start, dtype=torch.float32
        )
        model.train()
    else:
        tokenizer = world_tokenizer(settings.seed, settings.vocabulary)
        model = build_model(tokenizer, shape, seed=settings.seed)
    # CPU kernels for fused attention are slow backwards; plain matrix products are twice as fast.
    model.set_attn_implementation("eager")
    heads = DenseHeads(shape.vision_width)
    optims = optimisers(model, heads, matrix_lr=settings.matrix_lr, other_lr=settings.other_lr)
    state_file = work / "state.pt"
    spent, step = _restore(state_file, settings, model, heads, optims)
    report({"parameters": sum(p.numel() for p in model.parameters()), "spent_s": round(spent)})
    ids = tuple(tokenizer.convert_tokens_to_ids(t) for t in (tokens.IMAGE, tokens.USER, tokens.PAD))
    run = torch.compile(losses, dynamic=False) if compile else losses
    total = settings.minutes * 60
    rng = np.random.default_rng([settings.seed, step, 3])
    pool, used, saved = Pool(settings.pool), 0.0, spent
    streams = ExitStack()

    def renderer(tower: bool) -> Stream:
        pairs = settings.tower_pairs if tower else settings.pairs
        seed = [settings.seed, step, 5]
        streams.close()
        return streams.enter_context(
            Stream(
                tokenizer,
                view,
                shape,
                seed,
                pairs=pairs,
                vary=bool(settings.vary),
                workers=settings.workers,
            )
        )

    with streams:
        was_tower = spent / total < settings.tower_share
        stream = renderer(was_tower)
        while len(pool) < 20 * settings.tower_batch:
            pool.add(stream.take())
        log, tuner = _Averages(), _ThreadTuner(os.cpu_count() or 1)
        while spent < total:
            began = time.monotonic()
            if threads == 0:
                tuner.choose(step)
            done = spent / total
            tower = done < settings.tower_share
            if tower != was_tower:
                stream, was_tower = renderer(tower), tower
            count = settings.tower_batch if tower else settings.batch
            items = pool.sample(rng, count)
            batch = collate(
                items, shape, rng, ids=None if tower else ids, tokens=settings.text_tokens
            )
            start = 0.0 if tower else settings.tower_share
            for optim in optims:
                for group in optim.param_groups:
                    group.setdefault("full_lr", group["lr"])
                    group["lr"] = group["full_lr"] * learning_rate(done, start=start)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                learning = bool(settings.start) and step < settings.readout_steps
                found = run(model, heads, batch, readouts_only=learning)
            loss = found.dense
            if found.answer is not None:
                loss = found.answer + settings.dense_weight * found.dense
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*model.parameters(), *heads.parameters()], 1.0)
            for optim in optims:
                optim.step()
                optim.zero_grad(set_to_none=True)
            step += 1
            used += count / (settings.tower_reuse if tower else settings.reuse)
            while used > 0:
                fresh = stream.take()
                pool.add(fresh)
                used -= len(fresh)
            # A step that was held up by a sleeping machine must not eat the schedule.
            spent += min(time.monotonic() - began, 60.0)
            tuner.note((time.monotonic() - began) / count)
            log.add(loss=float(loss.detach()), samples=count, **found.right)
            if step % 50 == 0:
                report(
                    {"step": step, "spent_s": round(spent), "threads": torch.get_num_threads()}
                    | log.take()
                )
            if spent - saved > save_every_s:
                _save(state_file, settings, model, heads, optims, spent, step)
                saved = spent
            if milestone is not None and spent > milestone[0] * 60:
                export(model, tokenizer, settings, milestone[1], step=step)
                report({"milestone": milestone[1].name, "step": step, "spent_s": round(spent)})
                milestone = None
    _save(state_file, settings, model, heads, optims, spent, step)
    export(model, tokenizer, settings, out, step=step)
    report({"done": True, "step": step, "spent_s": round(spent), "out": out.name})


def export(
    model: VipLlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    out: Path,
    *,
    step: int,
) -> None:
    """Write the model folder: bfloat16 weights, processor, regiontext.json. An older folder is replaced by rename."""
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    weights = {k: v.to(torch.bfloat16) for k, v in model.state_dict().items()}
    copy = type(model)(model.config).to(torch.bfloat16)
    copy.load_state_dict(weights)
    copy.generation_config = model.generation_config
    copy.save_pretrained(fresh, max_shard_size="12MB")
    build_processor(tokenizer).save_pretrained(fresh)
    about = {
        "name": NAME,
        "region_input": "overlay",
        "view": replace(
            bundled_view(), scope=settings.scope, evidence=bool(settings.evidence)
        ).to_dict(),
        "max_regions": 2,
        # It tells how two objects lie, but mixes them up when it names both.
        "relation_sentences": "composed",
        # A material that it has never seen is new to the vision tower, too.
        "lora_targets": "all",
        "finetune": {"lr": 1e-3, "batch_size": 16, "max_steps": 100},
        "world": {"name": "worlds", "version": VERSION, "seed": settings.seed},
        "card": {
            "parameters": sum(p.numel() for p in model.parameters()),
            "training": asdict(settings) | {"steps": step},
            "held_back": dict(vocabulary.HELD_BACK),
        },
    }
    (fresh / "regiontext.json").write_text(json.dumps(about, indent=2) + "\n")
    (fresh / "model.safetensors").chmod(0o644)
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)


class _ThreadTuner:
    """Every `period` steps, tries each number of threads for a few steps and keeps the fastest until the next trial."""

    def __init__(self, most: int, *, period: int = 80, trial: int = 4) -> None:
        self._counts = sorted({1, most})
        self._period, self._trial = period, trial
        self._times: dict[int, list[float]] = {}
        self._now = most

    def choose(self, step: int) -> None:
        place = step % self._period
        if place % self._trial == 0 and place // self._trial < len(self._counts):
            if place == 0:
                self._times = {}
            self._set(self._counts[place // self._trial])
        elif place == self._trial * len(self._counts) and self._times:
            self._set(min(self._times, key=lambda count: float(np.mean(self._times[count]))))

    def note(self, seconds: float) -> None:
        self._times.setdefault(self._now, []).append(seconds)

    def _set(self, count: int) -> None:
        self._now = count
        torch.set_num_threads(count)


class _Averages:
    """Means of what was added since the last `take`."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._since = time.monotonic()

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        rate = self._sums.pop("samples", 0.0) / max(1e-9, time.monotonic() - self._since)
        means = {n: round(total / self._counts[n], 4) for n, total in self._sums.items()}
        self.__init__()  # type: ignore[misc]
        return means | {"samples_per_s": round(rate, 1)}


def _save(
    path: Path,
    settings: Settings,
    model: torch.nn.Module,
    heads: torch.nn.Module,
    optims: list[torch.optim.Optimizer],
    spent: float,
    step: int,
) -> None:
    state = {
        "settings": asdict(settings),
        "model": model.state_dict(),
        "heads": heads.state_dict(),
        "optims": [optim.state_dict() for optim in optims],
        "spent": spent,
        "step": step,
    }
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    os.replace(fresh, path)


def _restore(
    path: Path,
    settings: Settings,
    model: torch.nn.Module,
    heads: torch.nn.Module,
    optims: list[torch.optim.Optimizer],
) -> tuple[float, int]:
    if not path.exists():
        return 0.0, 0
    state = torch.load(path, weights_only=True)
    if state["settings"] != asdict(settings):
        different = {k for k, v in asdict(settings).items() if state["settings"].get(k) != v}
        raise ValueError(
            f"{path.name} was saved with another {', '.join(sorted(different))}; "
            "use the same settings or another --work folder"
        )
    model.load_state_dict(state["model"])
    heads.load_state_dict(state["heads"])
    for optim, saved in zip(optims, state["optims"], strict=True):
        optim.load_state_dict(saved)
    return float(state["spent"]), int(state["step"])


def _restart_tuned() -> None:
    """glibc and OpenMP read their settings at start only, so start again with them."""
    if sys.platform == "linux" and any(os.environ.get(k) != v for k, v in _ENVIRONMENT.items()):
        command = [sys.executable, "-m", "model_server.training.pretrain", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | _ENVIRONMENT)


def _arguments(argv: list[str] | None) -> Iterator[Any]:
    defaults = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m model_server.training.pretrain", description=__doc__
    )
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--work", type=Path, default=Path("runs/pretrain"), help="resumable state")
    parser.add_argument("--threads", type=int, default=0, help="0: one or all, whichever is faster")
    parser.add_argument("--milestone", type=float, help="minutes after which to export once early")
    parser.add_argument("--compile", action="store_true", help="compile the model first")
    for name, value in asdict(defaults).items():
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=type(value), default=value)
    options = vars(parser.parse_args(argv))
    yield {name: options.pop(name) for name in asdict(defaults)}
    yield options


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    settings, options = _arguments(argv)
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    out = options["out"]
    train(
        Settings(**settings),
        options["work"],
        out,
        compile=options["compile"],
        threads=options["threads"],
        milestone=(options["milestone"], out.with_name(out.name + ".early"))
        if options["milestone"] is not None
        else None,
        report=lambda line: print(json.dumps(line), flush=True),
    )


if __name__ == "__main__":
    _restart_tuned()
    main()
