"""What makes training fast on the machine at hand: the allocator's settings, the number of threads, and a log of means.

Knows nothing of models or data.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import torch

__all__ = ["Averages", "ThreadTuner", "restart_tuned"]

# glibc gives memory back to the system after every step by default; keeping it makes CPU training several times faster.
# Threads that spin while they wait take the processor from each other on a busy machine.
_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "-1",
    "MALLOC_TOP_PAD_": "67108864",
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
}


def restart_tuned(module: str) -> None:
    """Run `python -m module` again with the tuned environment, unless it is set: glibc and OpenMP read it at start."""
    if sys.platform == "linux" and any(os.environ.get(k) != v for k, v in _ENVIRONMENT.items()):
        command = [sys.executable, "-m", module, *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | _ENVIRONMENT)


class ThreadTuner:
    """Every `period` steps, tries each number of threads for a few steps and keeps the fastest until the next trial."""

    def __init__(self, most: int, *, period: int = 80, trial: int = 4) -> None:
        """Choose between one thread and `most`."""
        self._counts = sorted({1, most})
        self._period, self._trial = period, trial
        self._times: dict[int, list[float]] = {}
        self._now = most

    def choose(self, step: int) -> None:
        """Set the number of threads for this step."""
        place = step % self._period
        if place % self._trial == 0 and place // self._trial < len(self._counts):
            if place == 0:
                self._times = {}
            self._set(self._counts[place // self._trial])
        elif place == self._trial * len(self._counts) and self._times:
            self._set(min(self._times, key=lambda count: float(np.mean(self._times[count]))))

    def note(self, seconds: float) -> None:
        """Tell how long the step took per sample."""
        self._times.setdefault(self._now, []).append(seconds)

    def _set(self, count: int) -> None:
        self._now = count
        torch.set_num_threads(count)


class Averages:
    """Means of what was added since the last `take`."""

    def __init__(self) -> None:
        """Start empty."""
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._since = time.monotonic()

    def add(self, **values: float) -> None:
        """Add one step's values; "samples" is summed and becomes a rate."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """Return the means and "samples_per_s", and start afresh."""
        rate = self._sums.pop("samples", 0.0) / max(1e-9, time.monotonic() - self._since)
        means = {n: round(total / self._counts[n], 4) for n, total in self._sums.items()}
        self._sums, self._counts, self._since = {}, {}, time.monotonic()
        return means | {"samples_per_s": round(rate, 1)}
