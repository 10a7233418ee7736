"""`python -m regiontext.marks IMAGE ANNOTATION.json OUT`: see every kind of mark on your own regions.

Writes one contact sheet per region, NN-ID.png, and together.png with all of them in one picture.
ANNOTATION.json is a JSON export of Label Studio, one of its tasks (of one without annotations the
prediction is taken), an annotation, or a list of results. Exit status: 0 when every region was
drawn, 1 when some or all could not be, 2 when the command line is wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from regiontext.errors import MarkError, RegiontextError
from regiontext.images import load_image
from regiontext.labelstudio.results import decode_regions
from regiontext.marks.annotation import find_results, without_doubles
from regiontext.marks.frames import SCOPES
from regiontext.marks.kinds import LARGEST_NUMBER
from regiontext.marks.sheet import contact_sheet
from regiontext.region import Region

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the sheets asked for on the command line; returns the exit status."""
    options = _parser().parse_args(argv)
    try:
        image = load_image(options.image.read_bytes())
        data = json.loads(options.annotation.read_text(encoding="utf-8-sig"))
        results = find_results(
            data,
            image_name=options.image.name,
            task=options.task,
            annotation=options.annotation_id,
        )
        results, doubles = without_doubles(results)
        regions, faults = decode_regions(results, size=image.size)
        for left_out in (*doubles, *faults):
            print(f"left out: {left_out}", file=sys.stderr)
        chosen = _chosen(list(regions.values()), options.item, options.region)
        options.out.mkdir(parents=True, exist_ok=True)
        for path in _write(image, chosen, options):
            print(path)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as fault:
        print(f"{options.annotation} is no JSON that can be read: {fault}", file=sys.stderr)
        return 1
    except (OSError, RegiontextError) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 1 if faults or doubles else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m regiontext.marks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image", type=Path, help="the image file that was annotated")
    parser.add_argument("annotation", type=Path, help="JSON of Label Studio with its regions")
    parser.add_argument("out", type=Path, help="folder to write the sheets to; made if missing")
    parser.add_argument("--task", type=int, metavar="ID", help="which task of an export")
    parser.add_argument(
        "--annotation",
        type=int,
        metavar="ID",
        dest="annotation_id",
        help="which of its annotations",
    )
    parser.add_argument(
        "--item",
        type=int,
        default=0,
        metavar="N",
        help="which image of a task with several this one is, from 0 (default 0)",
    )
    parser.add_argument(
        "--region", action="append", metavar="ID", help="only this region; may be repeated"
    )
    parser.add_argument(
        "--scope",
        choices=SCOPES,
        default="crop",
        help="what is shown: a crop around the regions (default), the whole image, both, or a crop for each region",
    )
    parser.add_argument(
        "--context",
        type=float,
        default=0.5,
        metavar="C",
        help="how much context a crop has each way, in sides of the region (default 0.5)",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=1,
        help="of the first training sample; the second has the next",
    )
    return parser


def _seed(text: str) -> int:
    seed = int(text)
    if seed < 0:
        raise argparse.ArgumentTypeError(f"{seed} is below 0")
    return seed


def _chosen(regions: Sequence[Region], item: int, ids: Sequence[str] | None) -> list[Region]:
    here = [region for region in regions if region.item_index == item]
    if elsewhere := sorted({region.item_index for region in regions} - {item}):
        others = len(regions) - len(here)
        print(
            f"left out: {others} region(s) on other images of the task; draw those with --item "
            f"{' or '.join(map(str, elsewhere))} and that image",
            file=sys.stderr,
        )
    known = [region.id for region in here]
    if unknown := sorted(set(ids or ()) - set(known)):
        raise MarkError(f"no region {', '.join(unknown)}; there are {', '.join(known) or 'none'}")
    chosen = [region for region in here if ids is None or region.id in ids]
    if not chosen:
        raise MarkError(f"no region on image {item} of this annotation; draw one, or choose --item")
    if len(chosen) > LARGEST_NUMBER:
        raise MarkError(
            f"{len(chosen)} regions are more than {LARGEST_NUMBER}; choose some with --region"
        )
    return chosen


def _write(
    image: Image.Image, regions: Sequence[Region], options: argparse.Namespace
) -> list[Path]:
    seeds = (options.seed, options.seed + 1)
    paths = []
    for rank, region in enumerate(regions, start=1):
        width, height = (round(b - a) for a, b in zip(region.box[:2], region.box[2:], strict=True))
        words = f"{', '.join(region.labels) or 'no label'}: {region.shape}, {width} x {height} px"
        title = f"{region.id}   {words}, on {options.image.name}"
        sheet = contact_sheet(
            image,
            [region],
            title=title,
            scope=options.scope,
            context=options.context,
            seeds=seeds,
        )
        name = re.sub(r"[^A-Za-z0-9_-]", "_", region.id)[:40]
        paths.append(options.out / f"{rank:02}-{name}.png")
        sheet.save(paths[-1], compress_level=3)
    if len(regions) > 1:
        title = f"{len(regions)} regions together, on {options.image.name}"
        sheet = contact_sheet(image, regions, title=title, scope="whole", seeds=seeds)
        paths.append(options.out / "together.png")
        sheet.save(paths[-1], compress_level=3)
    return paths


if __name__ == "__main__":
    raise SystemExit(main())
