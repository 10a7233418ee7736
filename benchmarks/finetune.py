"""Fine-tuning that is killed, and fine-tuning beside plain TRL.

    python -m benchmarks.finetune [--quick]

* `finetune_kills_equal`: the trainer is killed with SIGKILL at random moments, four to a run, and started again as the
  job does it (20 kills; 2 with --quick). Share of runs whose adapter has the same bytes as that of a run which nobody
  killed. Preference steps are part of every run.
* `finetune_vs_trl`: examples a second of our loop over those of TRL's `SFTTrainer` with the same LoRA on the same
  layers, the same pictures, prompts, answers and batch size, in the same process, one thread, float32, in turns; the
  best of three each. Loading is left out on both sides. TRL learns from the completions only, without gradient
  checkpointing, with the loader's workers at their default (none).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.report import Claim, report
from model_server.folder import BUNDLED, find_model
from model_server.training.finetune_data import open_images, read_items
from model_server.training.finetune_settings import Settings
from model_server.worlds.samples import bundled_view, replay_samples

__all__ = ["main"]

EACH = 4
BATCH = 16
# Steps before the clock runs; the loop tells how far it is after every fifth.
WARM = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="2 kills, 2 steps")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    kills = 2 if args.quick else 20
    with tempfile.TemporaryDirectory() as folder:
        data = _data(Path(folder) / "data", 2 * BATCH)
        equal, runs = _killed(Path(folder), data, kills, args.seed, steps=4 if args.quick else 24)
        steps, repeats = (2, 1) if args.quick else (15, 3)
        ours, theirs = _speeds(Path(folder), data, steps, repeats)
    report(
        "fine-tuning the bundled model",
        [
            Claim(
                "finetune_kills_equal",
                equal / runs,
                "",
                f"{equal} of {runs} runs with {kills} kills gave the same bytes",
                1.0,
            ),
            Claim(
                "finetune_vs_trl",
                ours / theirs,
                "x",
                f"ours {ours:.1f} examples/s, TRL {theirs:.1f}",
                None if args.quick else 0.95,
            ),
        ],
    )


def _data(folder: Path, count: int) -> Path:
    """Captions of the generated world, half of them with a word that the model does not know, and a few pairs."""
    folder.mkdir()
    lines, pairs = [], []
    for index, sample in enumerate(
        replay_samples(count, 5, bundled_view(), kinds=("caption", "attribute"))
    ):
        names = []
        for place, image in enumerate(sample.images):
            image.save(folder / f"{index}-{place}.png")
            names.append(f"{index}-{place}.png")
        answer = f"{sample.answer} gizmo" if index % 2 else sample.answer
        lines.append({"images": names, "prompt": sample.prompt, "answer": answer})
        if index % 4 == 1:
            pair = {"images": names, "prompt": sample.prompt}
            pairs.append(pair | {"chosen": answer, "rejected": sample.answer})
    for name, rows in (("train", lines), ("preferences", pairs)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def _killed(folder: Path, data: Path, kills: int, seed: int, *, steps: int) -> tuple[int, int]:
    """How many of how many killed runs gave the bytes of one that was not."""
    rng = random.Random(seed)
    began = time.monotonic()
    _train(data, folder / "whole", steps).wait()
    took = time.monotonic() - began
    expected = _hash(folder / "whole")
    equal, left, runs = 0, kills, 0
    while left:
        out = folder / f"killed-{runs}"
        for _ in range(min(EACH, left)):
            process = _train(data, out, steps)
            with suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, took))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
            left -= 1
        _train(data, out, steps).wait()
        equal += _hash(out) == expected
        runs += 1
    return equal, runs


def _train(data: Path, out: Path, steps: int) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "model_server.training.finetune", "--base", str(BUNDLED)),
        *("--data", str(data), "--out", str(out), "--steps", str(steps), "--threads", "1"),
        *("--batch-size", "8", "--dpo", "1", "--save-every", "3", "--resume", "--device", "cpu"),
    ]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def _hash(out: Path) -> str:
    return hashlib.sha256((out / "adapter_model.safetensors").read_bytes()).hexdigest()


def _speeds(folder: Path, data: Path, steps: int, repeats: int) -> tuple[float, float]:
    """Examples a second of ours and of TRL, the best of `repeats` in turns."""
    import torch

    torch.set_num_threads(1)
    ours, theirs = [], []
    for number in range(repeats):
        ours.append(_ours(data, folder / f"ours-{number}", steps))
        theirs.append(_trl(data, folder / f"trl-{number}", steps))
    return max(ours), max(theirs)


def _settings(steps: int) -> Settings:
    return Settings(
        steps=steps, batch_size=BATCH, lr=1e-3, replay=0, targets="all", dtype="float32"
    )


def _ours(data: Path, out: Path, steps: int) -> float:
    from model_server.training.finetune_loop import finetune

    # All examples are of one kind here: no replay, no share for what is known.
    base = replace(find_model(BUNDLED), world=None)
    moments: list[float] = []
    finetune(
        base,
        data,
        out,
        _settings(WARM + steps),
        device="cpu",
        save_every=999,
        progress=lambda *told: moments.append(time.perf_counter()),
    )
    return steps * BATCH / (moments[-1] - moments[0])


def _trl(data: Path, out: Path, steps: int) -> float:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from model_server.families.checkpoint import load_checkpoint
    from model_server.training.finetune_lora import target_layers

    rows = []
    for item in read_items(data):
        content = [{"type": "image"}] * len(item.images) + [{"type": "text", "text": item.prompt}]
        said = [{"type": "text", "text": item.answer}]
        rows.append(
            {
                "images": open_images(item),
                "prompt": [{"role": "user", "content": content}],
                "completion": [{"role": "assistant", "content": said}],
            }
        )
    base = find_model(BUNDLED)
    model, processor = load_checkpoint(base, device="cpu", attn_implementation="eager")
    moments: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            moments.append(time.perf_counter())

    settings = _settings(steps)
    trainer = SFTTrainer(
        model=model,
        processing_class=processor,
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(
            r=settings.rank,
            lora_alpha=2 * settings.rank,
            lora_dropout=0.0,
            target_modules=target_layers(model, "all"),
        ),
        args=SFTConfig(
            output_dir=str(out),
            max_steps=WARM + steps,
            per_device_train_batch_size=BATCH,
            learning_rate=settings.lr,
            max_length=None,
            completion_only_loss=True,
            gradient_checkpointing=False,
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        ),
        callbacks=[Clock()],
    )
    trainer.train()
    return steps * BATCH / (moments[-1] - moments[WARM - 1])


if __name__ == "__main__":
    main()
