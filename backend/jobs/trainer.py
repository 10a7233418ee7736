"""Runs the trainer as a process of its own, so that torch never enters this one.

Knows the trainer's command line and its progress lines; knows nothing of records or models.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from backend.jobs.errors import JobError

__all__ = ["MODULE", "Said", "Step", "train"]

MODULE = "model_server.training.finetune"

# Progress bars of libraries are one line, drawn over and over.
_LONGEST_LINE = 2**24


@dataclass(frozen=True)
class Said:
    """How far the trainer is: steps done, of how many, their loss, on what, and the seconds left if it knows."""

    step: int
    of: int
    loss: float
    phase: str = "corrections"
    eta_s: float | None = None


Step = Callable[[Said], None]


async def train(
    base: str,
    data: Path,
    out: Path,
    log: Path,
    *,
    options: Mapping[str, int | float | str | None],
    threads: int,
    step: Step,
    module: str = MODULE,
) -> None:
    """Train an adapter for `base` (a model folder or hub id) on the folder `data` and write it to `out`.

    Goes on from the last checkpoint of an earlier call for the same `out`. The trainer ends when this process does,
    however that ends. `options` become `--name value` (those that are None are left out); everything the trainer says
    goes into `log`, and `step` is called for its progress lines. Raises JobError with the trainer's last words.
    """
    command = [sys.executable, "-m", module, "--base", base, "--resume", "--leashed"]
    command += ["--data", str(data), "--out", str(out), "--threads", str(threads)]
    for name, value in options.items():
        if value is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *command,
            # The leash: it closes when this process is gone, and nothing is ever written to it.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # One pipe for both, or an error would stand in the log before what was said ahead of it.
            stderr=asyncio.subprocess.STDOUT,
            limit=_LONGEST_LINE,
            env=environment,
        )
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                file.write(line)
                file.flush()
                if (said := _progress(line)) is not None:
                    step(said)
            status = await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
    if status != 0:
        raise JobError(f"training failed (status {status}): {_last_words(log)}; see {log}")
    if not out.is_dir():
        raise JobError(f"training ended without an adapter at {out}; see {log}")


def _progress(line: str | bytes) -> Said | None:
    """What a progress line says; None for a line that is only for the log."""
    try:
        said = json.loads(line)
        eta = said.get("eta_s")
        return Said(
            int(said["step"]),
            int(said["of"]),
            float(said["loss"]),
            str(said.get("phase", "corrections")),
            None if eta is None else float(eta),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _last_words(log: Path) -> str:
    """The last line that is no progress: an error may be told before the last step is."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    words = [line for line in lines if line and _progress(line) is None]
    return words[-1][:300] if words else "it said nothing"
