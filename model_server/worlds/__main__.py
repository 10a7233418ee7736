"""`python -m model_server.worlds OUT`: write sample scenes as PNG files, with `scenes.json` saying what is in them.

The same seed gives the same scenes. Needs no torch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_server.worlds.samples import scene_image

__all__ = ["main", "write_scenes"]

_SIZES = ((800, 600), (640, 480), (720, 720), (768, 512))


def write_scenes(out: Path, *, count: int, seed: int = 0) -> Path:
    """Write `count` scenes as scene-001.png … into `out` and return the path of the list, scenes.json.

    The list has one entry per scene: {"file", "size": [W, H], "objects": [{"box": [x0, y0, x1, y1] px, "caption"}]};
    objects that are hardly visible are left out, boxes are those of the visible part.
    """
    out.mkdir(parents=True, exist_ok=True)
    scenes = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        picture, things = scene_image(rng, size=_SIZES[index % len(_SIZES)])
        name = f"scene-{index + 1:03}.png"
        picture.save(out / name)
        scenes.append(
            {
                "file": name,
                "size": list(picture.size),
                "objects": [
                    {"box": list(region.box), "caption": thing.caption} for thing, region in things
                ],
            }
        )
    path = out / "scenes.json"
    path.write_text(json.dumps(scenes, indent=1) + "\n", encoding="utf-8")
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Write the scenes asked for on the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m model_server.worlds", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    print(write_scenes(args.out, count=args.count, seed=args.seed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
