"""RegionBench's report: chance stands beside what it is compared with, and no scene is counted as another's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import regionbench
from model_server.folder import BUNDLED

ROOT = Path(regionbench.__file__).parents[1]
BARRED = {
    *("caption_exact", "size", "colour", "material", "shape", "relation", "relation_same"),
    *("mark_removed", "mark_moved", "unseen_kind", "ece"),
}
TOLD = {
    "claims": {"caption_exact": 0.9, "mark_removed": 0.31, "mark_moved": 0.8},
    "controls": {"removed": {"right": 0.31, "chance": 0.25, "follows": 0.5, "n": 9}},
}


@pytest.fixture
def card() -> dict[str, Any]:
    about = json.loads((BUNDLED / "regiontext.json").read_text(encoding="utf-8"))
    evaluation: dict[str, Any] = about["card"]["evaluation"]
    return evaluation


def test_the_bundled_models_recorded_figures_meet_every_bar(card: dict[str, Any]) -> None:
    claims = regionbench.claims_of(card["claims"])
    assert {claim.key for claim in claims} == BARRED
    assert not [claim for claim in claims if claim.bar is None or not claim.ok]


def test_a_missed_bar_is_told(card: dict[str, Any]) -> None:
    worse = card["claims"] | {"colour": 0.959, "mark_removed": 0.301}
    missed = {claim.key for claim in regionbench.claims_of(worse) if not claim.ok}
    assert missed == {"colour", "mark_removed"}


def test_the_card_to_read_has_the_recorded_figures(card: dict[str, Any]) -> None:
    readme = (BUNDLED / "README.md").read_text(encoding="utf-8")
    asked = readme.split("| asked | right | n |")[1].split("\n\n")[0]
    shown = [line.split(" | ")[1] for line in asked.splitlines()[2:]]
    assert sorted(shown) == sorted(f"{share:.3f}" for share in card["right"].values())
    assert f"{card['regions']} regions of held-out scenes (seed {card['seed']})" in readme


def test_the_docs_have_the_recorded_figures_and_the_bars(card: dict[str, Any]) -> None:
    docs = (ROOT / "docs" / "bundled-model.md").read_text(encoding="utf-8")
    rows = docs.split("| claim | | bundled | bar |")[1].split("\n\n")[0].splitlines()[2:]
    cells = (row.strip("| ").split(" | ") for row in rows)
    shown = {key.strip("`"): (float(value), bar) for key, _, value, bar in cells}
    assert shown.pop("mark_removed_chance")[1] == "–"
    for claim in regionbench.claims_of(card["claims"]):
        value, bar = shown.pop(claim.key)
        assert value == pytest.approx(claim.value, abs=0.0006)
        assert bar == f"{'≤' if claim.at_most else '≥'} {claim.bar:.2f}"
    assert not shown


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
