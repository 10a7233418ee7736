"""Which examples a fine-tuning run visits, how often, and what it replays beside them."""

from __future__ import annotations

import pytest

from model_server.folder import BUNDLED, find_model
from model_server.training.finetune_data import replay_items
from model_server.training.finetune_plan import Planner, plan_pairs, plan_steps
from model_server.training.finetune_settings import Settings


def test_every_item_is_seen_once_before_any_twice() -> None:
    new, replay = tuple(range(10)), tuple(range(10, 31))
    planner = Planner(groups=(new, replay), each=(2, 6), seed=3)
    batches = [planner.batch(step) for step in range(7)]
    seen = [index for batch in batches[:5] for index in batch if index < 10]
    assert sorted(seen) == list(new)
    assert all(sum(index < 10 for index in batch) == 2 for batch in batches)
    replayed = [index for batch in batches for index in batch if index >= 10][:21]
    assert sorted(replayed) == list(replay)
    assert [planner.batch(step) for step in range(7)] == batches
    assert Planner((new, replay), (2, 6), seed=4).batch(0) != batches[0]
    assert len(Planner(((5, 6, 7),), (2,), seed=0).batch(1)) == 2


@pytest.mark.parametrize(
    ("right", "settings", "groups", "each", "steps"),
    [
        ([1, 0, 0, 1], {}, [(1, 2), (0, 3)], (2, 2, 12), 20),
        ([0] * 40, {}, [tuple(range(40))], (4, 12), 100),
        ([1] * 4, {}, [(0, 1, 2, 3)], (4, 12), 20),
        ([0] * 160 + [1], {}, [tuple(range(160)), (160,)], (2, 2, 12), 150),
        ([0] * 900 + [1], {}, [tuple(range(900)), (900,)], (2, 2, 12), 150),
        ([0] * 900 + [1], {"steps": 7}, [tuple(range(900)), (900,)], (2, 2, 12), 7),
        ([0] * 5 + [1], {"focus": 0.75}, [(0, 1, 2, 3, 4), (5,)], (3, 1, 12), 20),
        ([0] * 5 + [1], {"replay": 7}, [(0, 1, 2, 3, 4), (5,)], (1, 1, 14), 50),
    ],
)
def test_three_old_ones_to_a_new_one(
    right: list[int],
    settings: dict[str, float],
    groups: list[tuple[int, ...]],
    each: tuple[int, ...],
    steps: int,
) -> None:
    chosen = Settings(
        **{"passes": 1.5, "max_steps": 150, "batch_size": 16, "replay": 3.0, "focus": 0.5}
        | settings
    )
    plan = plan_steps([bool(r) for r in right], chosen, has_world=True)
    assert (plan.planner.each, plan.steps) == (each, steps)
    *new, replayed = plan.planner.groups
    assert new == groups
    assert replayed == tuple(range(len(right), len(right) + min(2000, each[-1] * steps)))
    assert plan.replay == len(replayed)


@pytest.mark.parametrize(
    ("right", "groups", "each"),
    [
        ([1, 0, 0, 1, 1], [(1, 2), (0, 3, 4)], (4, 12)),
        ([0, 0], [(0, 1)], (16,)),
        ([1, 1], [(0, 1)], (16,)),
    ],
)
def test_without_a_world_the_old_are_what_it_gets_right(
    right: list[int], groups: list[tuple[int, ...]], each: tuple[int, ...]
) -> None:
    settings = Settings(replay=3.0, batch_size=16)
    plan = plan_steps([bool(r) for r in right], settings, has_world=False)
    assert (list(plan.planner.groups), plan.planner.each, plan.replay) == (groups, each, 0)


def test_pairs_are_visited_as_often_as_asked_beside_old_examples() -> None:
    old = Planner(((0, 1), (2, 3, 4)), (4, 12), seed=0)
    plan = plan_pairs(10, 6, old, Settings(dpo=2.0, batch_size=8))
    drawn = [index for step in range(plan.steps) for index in plan.planner.batch(step)]
    assert sorted(index for index in drawn if index >= 10) == sorted([10, 12, 14, 16, 18, 20] * 2)
    assert {index for index in drawn if index < 10} == {2, 3, 4}


def test_half_of_the_replay_are_captions() -> None:
    items = replay_items(find_model(BUNDLED), 12, 3)
    captions = [item for item in items if "Describe the object" in item.prompt]
    assert len(items) == 12 and len(captions) == 6
    again = replay_items(find_model(BUNDLED), 12, 3)
    assert [(i.prompt, i.answer) for i in items] == [(i.prompt, i.answer) for i in again]
    assert replay_items(find_model(BUNDLED), 0, 3) == []
