"""Drawing marks: ours beside Pillow's full-layer composite, in time, and ours in memory.

    python -m benchmarks.marks [--quick]

Marks: every kind, each on four regions (a box, an ellipse's polygon, a brush
stroke's mask, a star-shaped polygon) whose boxes are 10, 20, 30 and 40 % of the image's sides, each
region with the inference style and with two training layouts (seed 2312; one at 4000 x 3000). The
layouts are made beforehand, and both draw the same ones; that the pictures are equal is checked for
every one.

The peer is the textbook way: the image, kept as a Pillow RGB image, becomes RGBA; the mark is drawn
on a transparent layer of its size; `Image.alpha_composite`; back to RGB. Ours keeps the image as an
array and draws in place (`draw_over`) or on a copy (`draw`). One thread, each mark timed alone, turn
and turn about, twice in a row each turn, the best of all; the ratio is that of the sums over the
kinds.

Memory: `draw` of one mark of each kind on 8000 x 6000 (a region of 40 % of the sides), in a process
of its own: the highest resident set (Pillow's canvases included) minus the one before the image was
made, in sizes of the image, so image and result alone are 2. The peak that tracemalloc sees is
printed beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.report import Claim, report
from regiontext.marks.draw import draw, draw_over
from regiontext.marks.kinds import KINDS
from regiontext.marks.layout import Mark, lay_out
from regiontext.marks.style import inference_style, training_style
from regiontext.region import Region
from tests.regiontext.marks.textbook import textbook

__all__ = ["main"]

SEED = 2312
HUGE = (8000, 6000)
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Cost:
    """Seconds per mark of one kind: summed over its marks, the best of N each."""

    kind: str
    peer: float
    in_place: float
    copied: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer marks")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.memory:
        print(json.dumps(_peak(HUGE, pickle.load(sys.stdin.buffer))))
        return
    quick = chosen.quick
    small = _costs(
        (1280, 960), 2 if quick else 4, trainings=0 if quick else 2, repeats=5 if quick else 15
    )
    large = _costs(
        (4000, 3000), 1 if quick else 4, trainings=0 if quick else 1, repeats=1 if quick else 4
    )
    peak = _peak_in_a_process_of_its_own()
    console = Console()
    for title, costs in (("1280 x 960", small), ("4000 x 3000", large)):
        console.print(_table(title, costs))
    for what, value in peak.items():
        print(f"8000 x 6000, {what}: {value:.3f} images")
    report(
        "drawing marks",
        [
            Claim("draw_1280", _ratio(small, "in_place"), "x", "in place, 1280 x 960", bar=12),
            Claim("draw_1280_copy", _ratio(small, "copied"), "x", "a copy for each mark", bar=8),
            Claim("draw_4000", _ratio(large, "in_place"), "x", "in place, 4000 x 3000", bar=25),
            Claim(
                "draw_memory",
                max(peak.values()),
                "images",
                "image, result and work, 8000 x 6000",
                bar=2.2,
                at_most=True,
            ),
        ],
    )


def _ratio(costs: list[Cost], way: str) -> float:
    return float(sum(cost.peer for cost in costs) / sum(getattr(cost, way) for cost in costs))


def _table(title: str, costs: list[Cost]) -> Table:
    table = Table("kind", "Pillow ms", "in place ms", "x", "on a copy ms", "x", title=title)
    for cost in [*costs, Cost("sum", *np.sum([astuple(cost)[1:] for cost in costs], axis=0))]:
        cells = [1000 * cost.peer]
        for seconds in (cost.in_place, cost.copied):
            cells += [1000 * seconds, cost.peer / seconds]
        table.add_row(cost.kind, *(f"{cell:.3g}" for cell in cells))
    return table


def _costs(size: tuple[int, int], places: int, *, trainings: int, repeats: int) -> list[Cost]:
    image, regions = _noise(size), _regions(size)[-places:]
    base = Image.fromarray(image)
    work = image.copy()
    costs = []
    for kind in KINDS:
        total = np.zeros(3)
        marks = _marks(kind, regions, trainings)
        for mark in marks:
            _assert_equal(image, base, mark)
            ways: list[Callable[[], object]] = [
                lambda mark=mark: textbook(base, mark),
                lambda mark=mark: draw_over(work, [mark]),
                lambda mark=mark: draw(image, [mark]),
            ]
            total += np.min([[_seconds(way) for way in ways] for _ in range(repeats)], axis=0)
        costs.append(Cost(kind, *(total / len(marks))))
    return costs


def _seconds(way: Callable[[], object]) -> float:
    """The better of two runs in a row: the other ways leave cold caches behind."""
    best = math.inf
    for _ in range(2):
        start = time.perf_counter()
        way()
        best = min(best, time.perf_counter() - start)
    return best


def _assert_equal(image: Pixels, base: Image.Image, mark: Mark) -> None:
    theirs = np.asarray(textbook(base, mark))
    ours = draw(image, [mark])
    in_place = image.copy()
    draw_over(in_place, [mark])
    if not (np.array_equal(ours, theirs) and np.array_equal(in_place, theirs)):
        raise AssertionError(f"{mark.style} is not drawn as by the peer")


def _marks(kind: str, regions: list[Region], trainings: int) -> list[Mark]:
    rng = np.random.default_rng(SEED)
    marks = []
    for region in regions:
        plain = inference_style(kind)
        marks.append(Mark(plain, lay_out(region, plain)))
        for _ in range(trainings):
            style = training_style(rng, (kind,))
            marks.append(Mark(style, lay_out(region, style, rng=rng)))
    return marks


def _regions(size: tuple[int, int]) -> list[Region]:
    """A box, an ellipse, a brush stroke and a star: 10, 20, 30 and 40 % of the sides."""
    width, height = size
    turn = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1) * size
    ellipse = 0.1 * circle + np.multiply((0.6, 0.3), size)
    star = (0.15 + 0.05 * np.cos(5 * turn))[:, None] * circle + np.multiply((0.7, 0.6), size)
    across, down = np.arange(width) / width, np.arange(height)[:, None] / height
    wave = 0.55 + 0.1 * np.sin(2 * math.pi * across / 0.3)
    brush = (abs(down - wave) < 0.05) & (abs(across - 0.5) < 0.15)
    return [
        Region.from_box("box", (0.1 * width, 0.2 * height, 0.2 * width, 0.3 * height), size),
        Region("ellipse", "ellipse", size, polygons=(ellipse,)),
        Region.from_mask("brush", brush),
        Region("star", "polygon", size, polygons=(star,)),
    ]


def _noise(size: tuple[int, int]) -> Pixels:
    return np.random.default_rng(SEED).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def _peak_in_a_process_of_its_own() -> dict[str, float]:
    star = _regions(HUGE)[3]
    styles = [inference_style(kind) for kind in KINDS]
    marks = [Mark(style, lay_out(star, style)) for style in styles]
    child = [sys.executable, "-m", "benchmarks.marks", "--memory"]
    done = subprocess.run(child, input=pickle.dumps(marks), check=True, stdout=subprocess.PIPE)
    peak: dict[str, float] = json.loads(done.stdout)
    return peak


def _peak(size: tuple[int, int], marks: list[Mark]) -> dict[str, float]:
    before = psutil.Process().memory_info().rss
    tracemalloc.start()
    image = np.full((size[1], size[0], 3), 200, dtype=np.uint8)
    draw(image, marks)
    traced = tracemalloc.get_traced_memory()[1]
    resident = _highest_resident() - before
    return {"resident": resident / image.nbytes, "traced": traced / image.nbytes}


def _highest_resident() -> int:
    """The process's own high-water mark in bytes; getrusage's would include its parent's."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
