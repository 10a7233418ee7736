"""RegionBench's report: chance stands beside what it is compared with, and no scene is counted as another's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from benchmarks import regionbench

TOLD = {
    "claims": {"caption_exact": 0.9, "mark_removed": 0.31, "mark_moved": 0.8},
    "controls": {"removed": {"right": 0.31, "chance": 0.25, "follows": 0.5, "n": 9}},
}


def test_chance_is_printed_after_the_removed_mark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(regionbench, "world_speed", lambda **_: regionbench.Speed(400.0, 50.0))
    monkeypatch.setattr(regionbench, "served", lambda model: nullcontext(("http://m", "mini")))
    monkeypatch.setattr(regionbench, "measure", lambda url, name, *, regions: TOLD)
    assert regionbench.main(["--quick"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    keys = list(printed)
    assert keys[keys.index("mark_removed") + 1] == "mark_removed_chance"
    chance = printed["mark_removed_chance"]
    assert chance == {"value": 0.25, "unit": "", "bar": None, "ok": True}
    assert not printed["mark_removed"]["ok"]
    assert printed["marked_scenes_per_second"]["bar"] == 350
    assert printed["painted_scenes_per_second"] == chance | {"value": 50.0, "unit": "/s"}


def test_a_scene_that_is_marked_three_times_is_painted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]

    def stream(seed: int, view: object) -> Iterator[SimpleNamespace]:
        while True:
            objects = (object(),)
            now[0] += 1.0
            for _ in range(3):
                yield SimpleNamespace(objects=objects)

    monkeypatch.setattr(regionbench, "examples", stream)
    monkeypatch.setattr(regionbench.time, "process_time", lambda: now[0])
    # Rounds end where a scene begins: 12 marked scenes of 4 painted ones for each 10 wanted.
    assert regionbench.world_speed(count=10, rounds=2) == regionbench.Speed(3.0, 1.0)
