"""Prompts and their branches, laid out for one pass without padding.

Each row begins with what is kept of its prefix, then come the tokens of its prompt, then those of every
branch: all options of a closed question follow one prompt, and none of them sees another. Pure functions
over numpy. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Plan", "alike", "plan"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Plan:
    """One pass over T tokens of B rows.

    Attributes:
        ids: int64[T] tokens, row by row.
        owners: int64[T], each token's row.
        columns: int64[T], where in its row the token is kept.
        positions: int64[T], counted from 0 at the start of the row's prefix.
        slots: int64[T], row * Q + place in the row; None if every row has Q tokens.
        mask: bool[B, Q, C], the columns that each slot sees. Unused slots see the first column.
        shown: bool[B, C], the columns of prefix and prompt.
        sizes: tokens of each row.
        last: int64[B], where in T each prompt's last token is.
        branches: per row and branch, where in T it starts.
        read: int64[R] rising, where in T something is predicted: the last token of each prompt and its branches'.
    """

    ids: Ints
    owners: Ints
    columns: Ints
    positions: Ints
    slots: Ints | None
    mask: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    sizes: list[int]
    last: Ints
    branches: list[list[int]]
    read: Ints


def alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    for place, (token, own) in enumerate(zip(one, other, strict=False)):
        if token != own:
            return place
    return min(len(one), len(other))


def plan(
    prompts: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Sequence[int]]],
    *,
    before: Sequence[int],
) -> Plan:
    """Lay out B rows.

    Args:
        prompts: per row the tokens after the kept prefix, at least one.
        branches: per row the tokens of each branch, () for none.
        before: per row the length of its prefix, kept in the columns just before ``max(before)``.
    """
    width = max(before)
    flat: list[int] = []
    sizes: list[int] = []
    last: list[int] = []
    starts: list[list[int]] = []
    orders: list[Ints] = []
    positions: list[Ints] = []
    for prompt, own, seen in zip(prompts, branches, before, strict=True):
        begin = len(flat)
        flat += prompt
        last.append(len(flat) - 1)
        order = [np.zeros(len(prompt), dtype=np.int64)]
        place = [np.arange(seen, seen + len(prompt))]
        starts.append([])
        for number, branch in enumerate(own, 1):
            starts[-1].append(len(flat))
            flat += branch
            order.append(np.full(len(branch), number, dtype=np.int64))
            end = seen + len(prompt)
            place.append(np.arange(end, end + len(branch)))
        sizes.append(len(flat) - begin)
        orders.append(np.concatenate(order))
        positions.append(np.concatenate(place))
    count, slots = len(prompts), max(sizes)
    owners = np.repeat(np.arange(count), sizes)
    within = np.concatenate([np.arange(size) for size in sizes])
    mask, shown = _seen(orders, before, slots)
    return Plan(
        ids=np.array(flat, dtype=np.int64),
        owners=owners,
        columns=width + within,
        positions=np.concatenate(positions),
        slots=None if min(sizes) == slots else owners * slots + within,
        mask=mask,
        shown=shown,
        sizes=sizes,
        last=np.array(last, dtype=np.int64),
        branches=starts,
        read=np.concatenate(
            [np.arange(end, begin) for end, begin in zip(last, np.cumsum(sizes), strict=True)]
        ),
    )


def _seen(
    orders: Sequence[Ints], before: Sequence[int], slots: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    # 0 marks prefix and prompt, which all later tokens of the row see; a branch sees itself too.
    width, count = max(before), len(orders)
    kinds = np.full((count, width + slots), -1, dtype=np.int64)
    for row, (order, seen) in enumerate(zip(orders, before, strict=True)):
        kinds[row, width - seen : width] = 0
        kinds[row, width : width + len(order)] = order
    columns = np.arange(width + slots)
    own = kinds[:, width:]
    earlier = columns <= columns[width:, None]
    mask = earlier & ((kinds[:, None] == 0) | (kinds[:, None] == own[:, :, None]))
    unused = own < 0
    if unused.any():
        mask[unused] = columns == 0
    return mask, kinds == 0
