"""The one entry point for a model's answers."""

from __future__ import annotations

import json

import pytest

from regiontext.metrics.score import score
from tests.regiontext.metrics.test_cider import GOLDEN, PREDICTIONS, REFERENCES


def test_open_answers() -> None:
    told = score(PREDICTIONS, REFERENCES, samples=200)
    assert list(told) == ["n", "open"]
    part = told["open"]
    assert part["cider_d"]["value"] == pytest.approx(sum(GOLDEN) / len(GOLDEN))
    assert part["cider_d"]["low"] <= part["cider_d"]["value"] <= part["cider_d"]["high"]
    assert part["exact"]["value"] == pytest.approx(1 / 6)  # "man" and "a man"
    assert part["corpus_bleu"] == pytest.approx(0.2109376, abs=1e-6)
    assert part["length"]["ratio"] == pytest.approx(
        part["length"]["words"] / part["length"]["reference_words"]
    )
    assert part["empty"] == {"value": 0, "low": 0, "high": 0, "n": 6}
    json.dumps(told)


def test_every_kind_in_its_own_part() -> None:
    told = score(
        ["a red car", "", "Red", "blue", "next to", "behind"],
        [["a red car"], ["a dog"], ["red"], ["red"], ["next to"], ["in front of"]],
        kinds=["open", "open", "closed", "closed", "relation", "relation"],
        fields=["caption", "caption", "colour", "shade", "relations", "relations"],
        groups=["i1", "i2", "i1", "i2", "i1", "i2"],
        samples=200,
    )
    assert told["open"]["empty"]["value"] == 0.5
    assert told["open"]["fields"]["caption"]["value"] == 0.5
    assert told["closed"]["accuracy"]["value"] == 0.5
    assert {name: part["value"] for name, part in told["closed"]["fields"].items()} == {
        "colour": 1,
        "shade": 0,
    }
    assert told["relation"]["accuracy"]["value"] == 0.5
    assert told["relation"]["labels"]["in front of"]["value"] == 0
    assert told["relation"]["n"] == 2


def test_the_interval_comes_from_groups_and_is_the_same_each_time() -> None:
    said, truth = ["x"] * 20, [["x"]] * 10 + [["y"]] * 10
    kinds = ["closed"] * 20
    alone = score(said, truth, kinds=kinds, samples=500)  # type: ignore[arg-type]
    grouped = score(said, truth, kinds=kinds, groups=[i // 10 for i in range(20)], samples=500)  # type: ignore[arg-type]
    narrow, wide = alone["closed"]["accuracy"], grouped["closed"]["accuracy"]
    assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"]
    assert alone == score(said, truth, kinds=kinds, samples=500)  # type: ignore[arg-type]


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ValueError, match="no answers"):
        score([], [])
    with pytest.raises(ValueError, match="2 predictions but 1 references"):
        score(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="give a list"):
        score(["a"], ["a"])
    with pytest.raises(ValueError, match=r"references\[0\]"):
        score(["a"], [[]])
    with pytest.raises(ValueError, match="unknown kinds"):
        score(["a"], [["a"]], kinds=["closd"])  # type: ignore[list-item]
