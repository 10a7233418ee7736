"""RegionBench's report: chance stands beside what it is to be compared with."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest

from benchmarks import regionbench

TOLD = {
    "claims": {"caption_exact": 0.9, "mark_removed": 0.31, "mark_moved": 0.8},
    "controls": {"removed": {"right": 0.31, "chance": 0.25, "follows": 0.5, "n": 9}},
}


def test_chance_is_printed_after_the_removed_mark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(regionbench, "scenes_per_second", lambda **_: 1.0)
    monkeypatch.setattr(regionbench, "served", lambda model: nullcontext(("http://m", "mini")))
    monkeypatch.setattr(regionbench, "measure", lambda url, name, *, regions: TOLD)
    assert regionbench.main(["--quick"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    keys = list(printed)
    assert keys[keys.index("mark_removed") + 1] == "mark_removed_chance"
    chance = printed["mark_removed_chance"]
    assert chance == {"value": 0.25, "unit": "", "bar": None, "ok": True}
    assert not printed["mark_removed"]["ok"]
