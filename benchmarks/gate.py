"""How often the gate promotes what is no better, and how often it sees what is.

    python -m benchmarks.gate [--quick]

Challengers are simulated, the gate is the product's (`backend.jobs.gate.decide`): 300 records on 120 images, three
fields (two open, one closed), five labels, sizes, mark kinds and vocabulary as slices, about 17 of them. The champion
is right on 65 %. A wrong open answer misses one word of six (it scores half of 5/6), a wrong closed one scores 0.

* `gate_false_promotions`: 200 challengers that are no better: each changes as many answers for the better as for the
  worse on average (10 % of all), the hardest case; on 300 records, and printed besides on 30 and 100.
* `gate_true_promotions`: 200 challengers whose mean score is 5 points higher in truth, and that break 1 of 100 right
  answers. How the share falls when they break more is printed: that noise is in the questions; no test removes it.
* `gate_slice_alarms`: challengers better by 5 points everywhere that are refused for a slice: ≤ 5 % by the rule.
* `gate_sees_slice`: challengers better everywhere else that lose 30 points on one label of five (60 records).
* `gate_ms`: one decision, 10,000 resamples.

The peer is the textbook way (Koehn 2004), one resampling loop per slice at 95 % each with no correction: its share of
false alarms is printed beside ours.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from backend.jobs.gate import MIN_SLICE, Decision, Judged, decide
from benchmarks.report import Claim, report
from regiontext.metrics.bootstrap import paired_bootstrap

__all__ = ["main"]

FIELDS = ("caption", "material", "relation")
LABELS = ("Car", "Tree", "Door", "Sign", "Lamp")
NEARLY = 5 / 12
RIGHT = 0.65
SEED = 20_261


def simulate(
    rng: np.random.Generator,
    *,
    records: int = 300,
    points: float,
    breaks: float,
    lost: float = 0.0,
) -> list[Judged]:
    """Both models' scores. points: what the challenger gains in truth. breaks: share of right answers it breaks.

    lost: what it loses on records of the first label, whose share of the gain goes to the others.
    """
    images = max(1, records * 2 // 5)
    closed = rng.random(records) < 1 / 3
    wrong = np.where(closed, 0.0, NEARLY)
    right = rng.random(records) < RIGHT
    # What mending and breaking bring on average decides how many wrong answers must be mended for the gain.
    worth = (1 / 3) * 1.0 + (2 / 3) * (1 - NEARLY)
    mends = (points + RIGHT * breaks * worth) / ((1 - RIGHT) * worth)
    changed = rng.random(records) < np.where(right, breaks, mends)
    champion = np.where(right, 1.0, wrong)
    challenger = np.where(changed, np.where(right, wrong, 1.0), champion)
    label = rng.integers(0, len(LABELS), records)
    if lost:
        hit = (label == 0) & right & (rng.random(records) < lost / RIGHT / worth)
        challenger = np.where(hit, wrong, challenger)
    size = rng.integers(0, 3, records)
    mark = rng.integers(0, 3, records)
    return [
        Judged(
            float(champion[i]),
            float(challenger[i]),
            "relation" if closed[i] else FIELDS[i % 2],
            (LABELS[label[i]],),
            f"image {rng.integers(0, images)}",
            slices=(f"size {size[i]}", f"mark {mark[i]}", "old words" if i % 4 else "new words"),
        )
        for i in range(records)
    ]


def no_better(rng: np.random.Generator, records: int) -> list[Judged]:
    """A challenger that breaks as much as it mends: 10 % of all answers change."""
    return simulate(rng, records=records, points=0.0, breaks=0.05 / RIGHT)


def _textbook(judged: list[Judged], samples: int) -> bool:
    """Whether some slice looks worse when each is tested alone at 95 %."""
    parts: dict[str, list[Judged]] = {}
    for item in judged:
        for name in (item.field, *item.labels, *item.slices):
            parts.setdefault(name, []).append(item)
    return any(
        paired_bootstrap(
            [i.champion for i in items], [i.challenger for i in items], samples=samples
        ).worse
        for items in parts.values()
        if len(items) >= MIN_SLICE
    )


def main() -> None:
    """Simulate, decide, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer challengers and resamples")
    quick = parser.parse_args().quick
    runs, samples = (40, 1_000) if quick else (200, 10_000)
    rng = np.random.default_rng(SEED)

    def share(judgements: list[Decision]) -> float:
        return 100 * sum(d.promote for d in judgements) / len(judgements)

    def decided(make: object) -> list[Decision]:
        return [decide(make(), samples=samples, seed=n) for n in range(runs)]  # type: ignore[operator]

    began = time.perf_counter()
    alike = decided(lambda: no_better(rng, 300))
    each_ms = (time.perf_counter() - began) / runs * 1000
    for records in (30, 100):
        few = decided(lambda records=records: no_better(rng, records))
        print(f"no better, {records} records: {share(few):.1f} % promoted")
    better = decided(lambda: simulate(rng, points=0.05, breaks=0.01))
    alarms = 100 * sum("clearly worse" in d.reason for d in better) / runs
    for broken in (0.02, 0.04, 0.08):
        noisy = decided(lambda broken=broken: simulate(rng, points=0.05, breaks=broken))
        print(f"+5 points, {broken:.0%} of right answers broken: {share(noisy):.1f} % promoted")
    losing = decided(lambda: simulate(rng, points=0.10, breaks=0.01, lost=0.30))
    seen = 100 - share(losing)
    even = [no_better(rng, 300) for _ in range(min(runs, 60))]
    textbook = 100 * sum(_textbook(j, 1_000) for j in even) / len(even)
    ours = [any(part.worse for part in d.slices) for d in alike]
    print(
        f"alike challengers with a slice called worse: ours {100 * sum(ours) / runs:.1f} %, "
        f"each slice alone at 95 % {textbook:.1f} %"
    )
    report(
        f"the gate ({runs} simulated challengers each, {samples} resamples)",
        [
            Claim("gate_false_promotions", share(alike), "%", "no better, promoted", 5, True),
            Claim("gate_true_promotions", share(better), "%", "+5 points, promoted", 90),
            Claim("gate_slice_alarms", alarms, "%", "better everywhere, blamed", 5, True),
            Claim("gate_sees_slice", seen, "%", "one label lost, refused"),
            Claim("gate_ms", each_ms, "ms", "one decision", 2000, True),
        ],
    )


if __name__ == "__main__":
    main()
