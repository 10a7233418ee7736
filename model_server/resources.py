"""What a server takes of its machine when nobody says: CPU threads, and requests in a batch.

The figures come from pure functions; beside them stands what asks the machine. Imports torch only when asked for what
it knows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["batch_size", "cpu_quota", "max_batch_of", "threads_here", "threads_of"]

_GIB = 2**30


def threads_of(cores: int, usable: int, quota: float | None) -> int:
    """CPU threads for a model: none for a core that the process may not use, and none that the quota would stop.

    Args:
        cores: physical cores, as torch counts them.
        usable: CPUs that the process may run on.
        quota: CPUs' worth of time that it is given, None for any.
    """
    return max(1, min(cores, usable, cores if quota is None else int(quota)))


def batch_size(device: str, free_bytes: int = 0) -> int:
    """Most requests answered together: 16, and on CUDA one per half a GiB of free memory between 16 and 64.

    A GPU takes larger batches in hardly more time. Half a GiB is what a question of 600 tokens takes in a model of
    seven billion parameters (32 layers of keys and values, 4096 wide, in bfloat16: 0.3 GiB), and room to work in.

    Args:
        device: its kind, ``cpu``, ``cuda`` or ``mps``.
        free_bytes: memory of the GPU that is free once the model is there.
    """
    if device != "cuda":
        return 16
    return max(16, min(64, 2 * free_bytes // _GIB))


def cpu_quota(
    groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> float | None:
    """CPUs' worth of time that the process's control groups allow it; None where nothing limits it.

    Reads ``cpu.max`` (version 2) or ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` (version 1) of its group and of
    every one above it, of which the least holds (Linux, Documentation/admin-guide/cgroup-v2.rst and
    Documentation/scheduler/sched-bwc.rst).

    Args:
        groups: where the control groups are mounted.
        own: lines ``number:controllers:/path``, the process's group in each hierarchy.
    """
    found: list[float] = []
    lines: Sequence[str] = ()
    with suppress(OSError):
        lines = own.read_text(encoding="utf-8").splitlines()
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container the path may be the host's, while the mount begins at the group itself.
        for root in {groups / controllers, groups / "cpu", groups / "unified"}:
            folder = root / path.strip("/")
            for group in (folder, *folder.parents):
                if group.is_relative_to(root):
                    found += _quota(group)
    return min(found, default=None)


def _quota(group: Path) -> list[float]:
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, _, period = (group / "cpu.max").read_text(encoding="ascii").partition(" ")
        return [] if quota == "max" else [int(quota) / int(period)]
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (
            (group / f"cpu.cfs_{name}_us").read_text(encoding="ascii")
            for name in ("quota", "period")
        )
        return [int(quota) / int(period)] if int(quota) > 0 else []
    return []


def threads_here() -> int:
    """CPU threads for a model in this process; torch's own number is never exceeded."""
    import torch

    return threads_of(torch.get_num_threads(), _usable(), cpu_quota())


def max_batch_of(device: str) -> int:
    """Most requests answered together on this device, whose model is loaded. device: as `pick_device` takes it."""
    import torch

    from model_server.families.checkpoint import pick_device

    where = pick_device(device)
    if where.type != "cuda":
        return batch_size(where.type)
    # What torch keeps for later is free to the model, too.
    free, _ = torch.cuda.mem_get_info(where)
    kept = torch.cuda.memory_reserved(where) - torch.cuda.memory_allocated(where)
    return batch_size(where.type, free + kept)


def _usable() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
