"""Fuzzes the reading of regions: recorded results, broken in ever new ways.

    python -m tests.fuzz.fuzz_regions --minutes 60 --seed 0

Whatever a result holds, reading it gives a region with a mask or one RegionError, in bounded time
and memory; a region that was read can be written, and is then read with the same mask. A case
that reaches a fault not seen before joins the corpus. A failure prints the case as a Python
literal and the seed that makes it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from regiontext.errors import RegionError
from regiontext.geometry import fill_rings
from regiontext.labelstudio.decode import SHAPE_TYPES, decode_region, is_shape
from regiontext.labelstudio.encode import encode_region
from regiontext.region import Region
from tests.fuzz.mutate import mutate

__all__ = ["Fault", "Tally", "fuzz", "recorded_shapes"]

FIXTURES = Path(__file__).parents[1] / "fixtures"

SECONDS = 2.0
SECONDS_PER_PIXEL = 50e-9
"""A case may take so much time of its processor, and so much more for each pixel of its image."""

COPIES = 4
"""Memory that a case may take: so many RGBA copies of its image, beside FLOOR_BYTES."""

FLOOR_BYTES = 256_000_000
"""What the largest lists and pictures that are not refused take, however small the image."""

MEASURE_EVERY = 20
"""One case in so many is run again under tracemalloc, which slows it down several times."""

_CORPUS = 2_000


class Fault(AssertionError):
    """A case that broke a promise."""


@dataclass
class Tally:
    """What a run has seen."""

    cases: int = 0
    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    slowest_case: str = ""
    largest: int = 0
    faults: list[str] = field(default_factory=list)


def recorded_shapes() -> list[dict[str, Any]]:
    """Every shape result anywhere in the recorded payloads, each once."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(FIXTURES.rglob("*.json")):
        for item in _shapes(json.loads(file.read_text())):
            found.setdefault(json.dumps(item, sort_keys=True), item)
    return list(found.values())


def _shapes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "value" in node and is_shape(node):
            yield node
        for inner in node.values():
            yield from _shapes(inner)
    elif isinstance(node, list) and node and isinstance(node[0], dict | list):
        for inner in node:
            yield from _shapes(inner)


def fuzz(*, seconds: float, seed: int, stop_at_fault: bool = False) -> Tally:
    """Run cases for so long; faults are collected, or raised as Fault."""
    rng = Random(seed)
    recorded = recorded_shapes()
    corpus: list[dict[str, Any]] = []
    seen: set[str] = set()
    tally = Tally()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        state = rng.getrandbits(64)
        chance = Random(state)
        ready = corpus if corpus and chance.random() < 0.3 else recorded
        case = mutate(chance.choice(ready), chance, recorded)
        size = chance.choice((None, None, (800, 600), (37, 41), (1, 1), (1280, 960)))
        tally.cases += 1
        if tally.cases % 5_000 == 0:
            print(f"{tally.cases} cases, {tally.read} read", flush=True)
        try:
            said = _run(case, size, tally)
        except Fault as fault:
            if stop_at_fault:
                raise
            tally.faults.append(f"seed {seed}, case {tally.cases}: {fault}")
            print(f"FAULT {tally.faults[-1]}", flush=True)
            continue
        if said not in seen and len(corpus) < _CORPUS:
            seen.add(said)
            corpus.append(case)
    return tally


def _run(case: dict[str, Any], size: tuple[int, int] | None, tally: Tally) -> str:
    """Run one case; the kind of its outcome."""
    start = time.thread_time()
    try:
        region = decode_region(case, size=size)
        _ = region.mask, region.box, region.area, region.anchor
    except RegionError as fault:
        said, read = fault.fault, None
        if len(str(fault)) > 1_500:
            raise Fault(f"a message of {len(str(fault))} characters for {_show(case)}") from fault
    except Exception as fault:
        raise Fault(f"{type(fault).__name__}: {fault} for {_show(case)}, size {size}") from fault
    else:
        said, read = region.shape, region
    took = time.thread_time() - start
    if took > tally.slowest:
        tally.slowest, tally.slowest_case = took, f"{_show(case)}, size {size}"
    pixels = 0 if read is None else read.size[0] * read.size[1]
    if took > SECONDS + SECONDS_PER_PIXEL * pixels:
        raise Fault(f"took {took:.2f} s: {_show(case)}, size {size}")
    if read is None:
        tally.refused += 1
    else:
        tally.read += 1
        _check(read, case)
    if tally.cases % MEASURE_EVERY == 0:
        _measure(case, size, tally)
    return "".join(letter for letter in said if not letter.isdigit())[:60]


def _check(region: Region, case: dict[str, Any]) -> None:
    """A region that was read holds together, and is the same when written and read again."""
    mask = region.mask
    if mask.shape != region.size[::-1] or mask.dtype != np.bool_ or not mask.any():
        raise Fault(f"a mask {mask.dtype}{mask.shape} for {_show(case)}")
    if mask.size > 2_000_000:
        return
    if mask.size < 20_000:
        rings = [ring for outline in region.outlines for ring in outline.rings]
        if not np.array_equal(fill_rings(rings, region.size), mask):
            raise Fault(f"outlines that fill another mask: {_show(case)}")
        if not np.array_equal(Region.from_coco_rle("r", region.coco_rle).mask, mask):
            raise Fault(f"a COCO code of another mask: {_show(case)}")
    kind = case["type"]
    if kind not in SHAPE_TYPES:
        raise Fault(f"read a {kind!r}")
    again = decode_region(encode_region(region, from_name="c", to_name="i", type=kind))
    if not np.array_equal(again.mask, mask):
        raise Fault(f"{(again.mask != mask).sum()} pixels differ when written: {_show(case)}")


def _measure(case: dict[str, Any], size: tuple[int, int] | None, tally: Tally) -> None:
    tracemalloc.start()
    pixels = 0
    try:
        with contextlib.suppress(RegionError):
            region = decode_region(case, size=size)
            pixels = region.mask.size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    tally.largest = max(tally.largest, peak)
    if peak > FLOOR_BYTES + COPIES * 4 * pixels:
        raise Fault(f"took {peak / 1e6:.0f} MB for {pixels} pixels: {_show(case)}, size {size}")


def _show(case: dict[str, Any]) -> str:
    printed = repr(case)
    return printed if len(printed) < 3_000 else printed[:3_000] + f"… ({len(printed)})"


def main() -> None:
    """Run from the command line; the exit status is 1 when there were faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    tally = fuzz(seconds=60 * chosen.minutes, seed=chosen.seed)
    print(
        f"{tally.cases} cases: {tally.read} read, {tally.refused} refused, "
        f"{len(tally.faults)} faults; slowest {tally.slowest:.2f} s, "
        f"largest {tally.largest / 1e6:.0f} MB"
    )
    print(f"slowest: {tally.slowest_case[:1_000]}")
    raise SystemExit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
