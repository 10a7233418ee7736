"""How long an annotator waits: from mouse-up to the caption being visible, in a real Label Studio and Chromium.

    python -m benchmarks.page [--quick]

Starts `regiontext up` with a data folder of its own, opens generated scenes and draws one box after another.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.report import Claim, report
from tests.browser.conftest import launch_chromium
from tests.browser.editor import Editor, sign_in
from tests.browser.scenes import SIZE, add_task, scenes
from tests.browser.stack import Stack, running_stack

__all__ = ["main"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 boxes instead of 20")
    count = 5 if parser.parse_args().quick else 20
    with tempfile.TemporaryDirectory() as folder:
        with running_stack(Path(folder)) as stack:
            seconds = _waits(stack, count)
            first = stack.seconds_to_start
        with running_stack(Path(folder)) as stack:
            second = stack.seconds_to_start
    report(
        f"regiontext up, and {count} boxes drawn",
        [
            Claim("first_start_s", first, "s", "first start of `regiontext up`"),
            Claim("second_start_s", second, "s", "second start", bar=20, at_most=True),
            Claim("caption_ms", 1000 * statistics.median(seconds), "ms", "mouse-up to caption"),
            Claim("caption_slowest_ms", 1000 * max(seconds), "ms", "the slowest of them"),
        ],
    )


def _waits(stack: Stack, count: int) -> list[float]:
    assisted = islice((scene for scene in scenes(seed=31) if scene.arm == "assist"), count)
    waits: list[float] = []
    with sync_playwright() as playwright, stack.api() as api:
        page = launch_chromium(playwright).new_page(viewport={"width": 1440, "height": 900})
        sign_in(page, stack.url, stack.email, stack.password)
        editor = Editor(page, stack.url, stack.project)
        for scene in assisted:
            editor.open(add_task(api, stack.project, scene), SIZE)
            editor.auto_annotation()
            editor.smart_box(scene.objects[0].box)
            start = time.perf_counter()
            editor.wait_for_captions(1)
            waits.append(time.perf_counter() - start)
    return waits


if __name__ == "__main__":
    main()
