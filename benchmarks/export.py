"""How fast and in how much memory 100,000 records become each JSON format, with 10,000 images linked.

`python -m benchmarks.export [--quick]`. The records are synthetic (one region each, a caption or a choice), written as
an export writes them: `records.jsonl`, images linked into the folder, then the format's files, the data card and the
manifest of hashes. Each format runs in a process of its own, whose peak memory is the kernel's figure for it, with all
the records and with a tenth of them, to see whether memory grows with them. The seconds of the processor are told
besides: on a machine with other work they are the ones to trust.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from benchmarks.report import Claim, report
from regiontext.records.card import Tally, write_card
from regiontext.records.dataset import write_dataset
from regiontext.records.example import (
    Example,
    ExampleImage,
    ExampleRegion,
    Marking,
    Provenance,
    Turn,
)
from regiontext.records.formats.registry import FORMATS
from regiontext.records.manifest import write_manifest
from regiontext.records.spine import Spine, read_records
from regiontext.records.staging import link_or_copy

RECORDS, IMAGES = 100_000, 10_000
QUICK_RECORDS, QUICK_IMAGES = 5_000, 500
JSON_FORMATS = (
    "llava",
    "vip-llava",
    "osprey",
    "gpt4roi",
    "trl",
    "llama-factory",
    "ms-swift",
    "qwen-vl",
    "coco",
    "visual-genome",
    "llama-factory-preferences",
)
QUICK_FORMATS = ("llava", "coco")
_SIZE = 640, 480


def examples(records: int, images: int) -> Iterator[Example]:
    """Synthetic records, those of one image after another."""
    per_image = max(1, records // images)
    view = {"scope": "whole", "kind": "rectangle", "context": 1.0, "max_side": 1024}
    for number in range(records):
        image = number // per_image
        x, y = float(number * 37 % 500), float(number * 53 % 400)
        box = (x, y, x + 120, y + 60)
        ring = (x, y, x + 120, y, x + 120, y + 60, x, y + 60)
        rle = {"size": [_SIZE[1], _SIZE[0]], "counts": "P" * 40 + f"{number:010d}" * 8}
        layout = [{"kind": "rectangle", "colour": "red", "rgb": [255, 0, 0], "alpha": 230}]
        layout[0] |= {"width": 4.0, "parts": [{"part": "rectangle", "box": list(box), "width": 7}]}
        open_ = number % 3 > 0
        phrase = "within the red rectangle"
        asked = f"Describe the object {phrase} of image {image}."
        answer = f"a parked car number {number}, its door open" if open_ else "clear"
        name = f"images/{image:032x}.jpg"
        yield Example(
            id=f"{number}-r{number}-{'caption' if open_ else 'quality'}",
            split="train" if image % 5 else "validation",
            image=ExampleImage(f"{image:08x}" * 8, name, *_SIZE, f"/data/upload/1/{image}.jpg"),
            regions=(ExampleRegion(f"r{number}", "rectangle", ("Car",), box, (ring,), rle, 7200),),
            field="caption" if open_ else "quality",
            kind="open" if open_ else "closed",
            wording="Describe the object {mark}.",
            options=() if open_ else ("clear", "occluded"),
            answer=(answer,),
            turns=(Turn("user", asked, ((20, 20 + len(phrase), 0),)), Turn("assistant", answer)),
            provenance=Provenance(
                project=1,
                task=image,
                annotation=image,
                arm="assist",
                outcome="edited",
                suggested=("a parked lorry",) if open_ else ("occluded",),
                suggestion=f"{number:032x}",
                asked=asked,
                model_version="mini@base+r1a2b3c4+q5d6e7f8",
                annotator=number % 7,
                updated_at="2026-01-02T03:04:05+00:00",
                made_from=f"{number:064x}",
            ),
            marking=Marking(f"{number:064x}", view, (name,), (phrase,), (layout,)),
        )


def write(fmt: str, records: int, images: int, source: Path, out: Path) -> None:
    """One export, as the job writes it; prints its seconds and the process's peak memory in MB as JSON."""
    began, used = time.perf_counter(), time.process_time()
    last = ""
    with Spine(out) as spine:
        for example in examples(records, images):
            if example.image.path != last:
                last = example.image.path
                link_or_copy(source / last, out / last)
            spine.add(example)
    written = write_dataset(out, FORMATS[fmt])
    tally = Tally()
    for example in read_records(out):
        tally.add(example)
    write_card(out, tally, FORMATS[fmt], about={}, left_out=written.left_out, validation=0.2)
    write_manifest(out, counts=tally.to_dict())
    seconds = time.perf_counter() - began
    found = {"seconds": seconds, "cpu": time.process_time() - used, "rss_mb": peak()}
    print(json.dumps(found | {"written": written.written.total()}))


def peak() -> float:
    """This process's peak memory in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # The figure of getrusage begins with that of the process that started this one.
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def measure(fmt: str, records: int, images: int, source: Path) -> dict[str, float]:
    """`write` in a process of its own."""
    with tempfile.TemporaryDirectory(dir=source.parent) as out:
        command = [sys.executable, "-m", "benchmarks.export", "--write", fmt]
        command += [str(records), str(images), str(source), out]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5,000 records, two formats")
    parser.add_argument("--write", nargs=5, metavar="X", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        fmt, records, images, source, out = options.write
        write(fmt, int(records), int(images), Path(source), Path(out))
        return
    records, images = (QUICK_RECORDS, QUICK_IMAGES) if options.quick else (RECORDS, IMAGES)
    formats = QUICK_FORMATS if options.quick else JSON_FORMATS
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "source"
        (source / "images").mkdir(parents=True)
        for image in range(images):
            picture = Image.new("RGB", (64, 48), (image % 256, image // 256, 80))
            picture.save(source / f"images/{image:032x}.jpg")
        claims = []
        for fmt in formats:
            many = measure(fmt, records, images, source)
            few = measure(fmt, records // 10, images // 10, source)
            claims.append((fmt, many, few))
    slowest = max(claims, key=lambda one: one[1]["seconds"])
    largest = max(claims, key=lambda one: one[1]["rss_mb"])
    growth = max(claims, key=lambda one: one[1]["rss_mb"] / one[2]["rss_mb"])
    what = f"{records:,} records on {images:,} images"
    shown = [
        Claim("export_seconds", slowest[1]["seconds"], "s", f"{what}, slowest: {slowest[0]}", 60, True),
        Claim("export_rss_mb", largest[1]["rss_mb"], "MB", f"peak memory, most: {largest[0]}", 400, True),
        Claim(
            "export_rss_growth",
            growth[1]["rss_mb"] / growth[2]["rss_mb"],
            "x",
            f"peak memory of ten times the records, most: {growth[0]}",
        ),
    ]  # fmt: skip
    for fmt, many, few in claims:
        rss = f"{many['cpu']:.1f} s of processor, {many['rss_mb']:.0f} MB (a tenth: {few['rss_mb']:.0f})"
        shown.append(
            Claim(
                f"export_seconds_{fmt}", many["seconds"], "s", f"{many['written']} written; {rss}"
            )
        )
    report("export", shown)


if __name__ == "__main__":
    main()
