"""One run on several devices: each process takes its part of every batch, and gradients are summed.

`torchrun` starts the processes; the parts add up to the batch that one process would have seen, so
the number of devices changes the speed and nothing else. Knows nothing of models or data.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

__all__ = ["Ranks", "joined", "restart_on_all"]


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run: number `rank` of `count`, from 0."""

    rank: int = 0
    count: int = 1
    device: str | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes files and tells how far the run is."""
        return self.rank == 0

    def part(self, indices: Sequence[int]) -> list[int]:
        """This process's part of a batch, never empty: a batch smaller than `count` is repeated."""
        whole = list(indices)
        return whole[self.rank :: self.count] or whole[:1]

    def is_extra(self, indices: Sequence[int]) -> bool:
        """Whether `part` repeats an example that another process counts already."""
        return self.rank >= len(indices)

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes, without gradient."""
        total = value.detach().clone()
        if self.count > 1:
            distributed.all_reduce(total)
        return total

    def sum_gradients(self, weights: Iterable[Tensor]) -> None:
        """Replace every gradient by its sum over all processes."""
        if self.count > 1:
            for weight in weights:
                if weight.grad is None:
                    weight.grad = torch.zeros_like(weight)
                distributed.all_reduce(weight.grad)

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.count > 1:
            distributed.barrier()


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that torchrun started, for the block; a run of one process without it."""
    if "LOCAL_RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Ranks()
        return
    cuda = torch.cuda.is_available()
    device = f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()


def restart_on_all(module: str, device: str, arguments: Sequence[str]) -> None:
    """Run `module` again under torchrun, a process for each GPU, where there are several and none is named."""
    count = torch.cuda.device_count()
    if device == "auto" and count > 1 and "LOCAL_RANK" not in os.environ:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
        os.execv(sys.executable, [sys.executable, *launcher, "-m", module, *arguments])
