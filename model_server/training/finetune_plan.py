"""Which examples each step of a fine-tuning run sees, and how many steps there are.

Pure functions of the seed, so that a resumed run sees what it would have seen. Knows nothing of
tokens, torch or files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_server.training.finetune_settings import Settings

__all__ = ["Plan", "Planner", "plan_pairs", "plan_steps"]

# Distinct replayed samples kept in memory; a longer run sees them again.
_POOL = 2000

# Steps that a word takes to be learnt, however few the examples.
_LEAST, _ENOUGH = 20, 150


@dataclass(frozen=True)
class Planner:
    """A fixed number of each group in every step, all of a group before any of it again.

    Attributes:
        groups: example indices by group.
        each: how many of each group make a batch.
    """

    groups: tuple[tuple[int, ...], ...]
    each: tuple[int, ...]
    seed: int

    def batch(self, step: int) -> list[int]:
        """Indices of the examples of one step, group by group."""
        chosen: list[int] = []
        for stream, (group, count) in enumerate(zip(self.groups, self.each, strict=True)):
            for place in range(step * count, (step + 1) * count):
                epoch, offset = divmod(place, len(group))
                order = np.random.default_rng([self.seed, stream, epoch]).permutation(len(group))
                chosen.append(group[order[offset]])
        return chosen


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        planner: the batches.
        steps: how many of them.
        replay: how many samples of the world are replayed; their indices follow the new ones.
    """

    planner: Planner
    steps: int
    replay: int


def plan_steps(right: Sequence[bool], settings: Settings, *, has_world: bool) -> Plan:
    """Who is in each batch, and for how many steps.

    Every batch holds `replay` old examples to a new one. With a world to replay, a `focus` of the
    new ones are those that the model gets wrong. Without one, the old ones are those that it gets
    right; where it gets none right, there is nothing to replay.

    Args:
        right: whether the model answers each new example right before the run.
    """
    wrong = tuple(index for index, known in enumerate(right) if not known)
    known = tuple(index for index, known in enumerate(right) if known)
    new_each = max(1, round(settings.batch_size / (1 + settings.replay)))
    if has_world:
        wrong_each = max(1, round(new_each * settings.focus)) if known else new_each
        shares = [
            (wrong, wrong_each if wrong else 0),
            (known, new_each - (wrong_each if wrong else 0)),
        ]
        replay_each = round(new_each * settings.replay)
    else:
        old_each = settings.batch_size - new_each if known else 0
        shares = [
            (wrong, settings.batch_size - old_each if wrong else 0),
            (known, old_each if wrong else settings.batch_size),
        ]
        replay_each = 0
    visited = shares[0][1] or shares[1][1]
    a_pass = len(wrong or known) / visited
    # A word takes many steps, but not if that means staring at a handful of examples.
    least = max(_LEAST, min(_ENOUGH, 10 * a_pass))
    wanted = math.ceil(max(least, settings.passes * a_pass))
    steps = settings.steps or min(settings.max_steps, wanted)
    pool = min(_POOL, steps * replay_each)
    replayed = tuple(range(len(right), len(right) + pool))
    groups = [(group, each) for group, each in (*shares, (replayed, replay_each)) if group and each]
    planner = Planner(
        tuple(group for group, _ in groups), tuple(each for _, each in groups), settings.seed
    )
    return Plan(planner, steps, pool)


def plan_pairs(first: int, count: int, old: Planner, settings: Settings) -> Plan:
    """The steps of preference learning: `count` pairs, a quarter batch each step, with old examples.

    Pair k is the examples first + 2k (chosen) and first + 2k + 1 (rejected). What the supervised
    steps replayed goes on being replayed.
    """
    each = max(1, min(count, settings.batch_size // 4))
    steps = math.ceil(settings.dpo * count / each)
    chosen = tuple(range(first, first + 2 * count, 2))
    planner = Planner(
        (chosen, old.groups[-1]), (each, max(1, settings.batch_size - 2 * each)), settings.seed + 1
    )
    return Plan(planner, steps, 0)
