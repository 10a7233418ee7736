"""RegionBench of the bundled model: marked regions of held-out scenes described, related, and proved to be read.

Starts a model server, asks it over HTTP as the product does (greedy, never teacher-forced) and prints shares of exactly
right answers; and how fast the world paints, marks and asks: in marked scenes a second, which have the bar, and in
painted scenes, each of which is marked several times. No peer: the bars are fixed.
`--quick` asks about a few regions only, too few to tell a miss from chance; `--world` measures the world's speed only.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.report import Claim, report
from model_server.folder import BUNDLED, find_model
from model_server.regionbench.__main__ import measure
from model_server.worlds.samples import bundled_view, examples

__all__ = ["Speed", "claims_of", "main", "served", "world_speed"]

# Key, bar, whether at most, what.
_BARS: tuple[tuple[str, float, bool, str], ...] = (
    ("caption_exact", 0.80, False, "captions, every word right, all kinds of mark"),
    ("size", 0.95, False, "size asked alone, free text"),
    ("colour", 0.96, False, "colour asked alone, free text"),
    ("material", 0.95, False, "material asked alone, free text"),
    ("shape", 0.90, False, "shape asked alone, free text"),
    ("relation", 0.88, False, "how two regions lie, choices"),
    ("relation_same", 0.88, False, "same colour, material, shape; larger: choices, yes or no"),
    ("mark_removed", 0.30, True, "captions of the object whose mark was removed, whole picture"),
    ("mark_moved", 0.75, False, "captions that fit the object the mark was moved to better"),
    ("unseen_kind", 0.75, False, "captions with a kind of mark never trained, over trained kinds"),
    ("ece", 0.04, True, "calibration error of the confidence that is shown"),
)
_MARKED_BAR = 350.0


@dataclass(frozen=True)
class Speed:
    """What one core makes in a second.

    marked: marked scenes, each a picture with a mark drawn on a painted scene and its questions and answers; this has
    the bar. painted: the scenes painted for them, each of which is marked several times.
    """

    marked: float
    painted: float


def world_speed(*, count: int, rounds: int) -> Speed:
    """How fast the world paints, marks and asks: the best of `rounds` of at least `count` marked scenes each.

    Time is the process's own. A round ends where a new scene begins, so that each has whole scenes only.
    """
    stream = examples(0, bundled_view())
    # All examples of a scene share its objects.
    scene = next(stream).objects
    best, marked, painted = 0.0, 0, 0
    for _ in range(rounds):
        began = time.process_time()
        pictures = scenes = 0
        for example in stream:
            pictures += 1
            if example.objects is not scene:
                scene = example.objects
                scenes += 1
                if pictures >= count:
                    break
        best = max(best, pictures / (time.process_time() - began))
        marked, painted = marked + pictures, painted + scenes
    # How many scenes a round happens to paint varies; all rounds together tell how often one is marked.
    return Speed(best, best * painted / marked)


@contextmanager
def served(model: Path) -> Iterator[tuple[str, str]]:
    """Serve a model folder from a process of its own; yields its URL and the model's name.

    Raises RuntimeError when it does not come up within two minutes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "model_server", "--model", str(model), "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--threads", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not _ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server of {model} did not come up")
            time.sleep(0.1)
        yield url, find_model(model).name
    finally:
        process.terminate()
        process.wait()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def claims_of(claims: Mapping[str, float]) -> list[Claim]:
    """RegionBench's headline figures, by key, beside their bars; a figure that is not there is left out."""
    return [
        Claim(key, claims[key], "", what, bar, at_most)
        for key, bar, at_most, what in _BARS
        if key in claims
    ]


def _answers(told: dict[str, Any]) -> list[Claim]:
    claims = claims_of(told["claims"])
    chance = told["controls"].get("removed", {}).get("chance")
    if chance is not None:
        beside = [claim.key for claim in claims].index("mark_removed") + 1
        what = "mark_removed of a model to which marks tell nothing"
        claims.insert(beside, Claim("mark_removed_chance", chance, "", what))
    return claims


def _world(speed: Speed) -> list[Claim]:
    marked = "a mark drawn on a painted scene, with questions and answers, one core"
    painted = "the scenes painted for them, each marked several times, one core"
    return [
        Claim("marked_scenes_per_second", round(speed.marked, 1), "/s", marked, _MARKED_BAR),
        Claim("painted_scenes_per_second", round(speed.painted, 1), "/s", painted),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regionbench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few regions, a rough figure")
    parser.add_argument("--model", type=Path, default=BUNDLED, help="model folder")
    parser.add_argument("--regions", type=int, default=300, help="how many regions to ask about")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    parser.add_argument("--world", action="store_true", help="only how fast the world is made")
    args = parser.parse_args(argv)
    world = _world(world_speed(count=100, rounds=3 if args.quick else 10))
    if args.world:
        report("RegionBench's world", world)
        return 0
    regions = 10 if args.quick else args.regions
    with served(args.model) as (url, name):
        told = measure(url, name, regions=regions)
    if args.json is not None:
        args.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    report(f"RegionBench: {name}, {regions} regions", [*_answers(told), *world])
    return 0


if __name__ == "__main__":
    sys.exit(main())
