"""How long an annotator waits, in a real Label Studio and Chromium, and what the assistant costs the page.

    python -m benchmarks.page [--quick] [--data-dir FOLDER]

Starts `regiontext up` with a data folder of its own, opens generated scenes and draws one box after another: with the
smart tool (Label Studio's own way) and with the ordinary one (the assistant in the page). Times are taken in
the page; what opening a task costs is the processor time of the page's main thread, with the assistant and with its
script blocked, in turn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from playwright.sync_api import Browser, Page

from benchmarks.report import Claim, report
from plugin import page as page_files
from tests.browser.chromium import running_chromium
from tests.browser.drawing import Drawing
from tests.browser.editor import Editor, sign_in
from tests.browser.scenes import SIZE, SceneTask, add_task, scenes
from tests.browser.stack import Stack, running_stack

__all__ = ["main"]

# Notes when the mouse went up, and when the first word and the whole text stood in the list of regions.
_CLOCK = """
(() => {
  const seen = (window.__regiontextSeen = {});
  addEventListener("pointerup", () => Object.assign(seen, { up: performance.now(), word: 0, text: 0 }), true);
  const look = () => {
    requestAnimationFrame(look);
    if (!seen.up || seen.text) return;
    const coming = document.querySelector("[data-testid=textarea-region-input][data-regiontext]");
    const there = document.querySelector("[data-testid=textarea-region-textarea]")?.value;
    if (!seen.word && (there || /[a-z]/i.test(coming?.placeholder ?? ""))) seen.word = performance.now();
    if (there) seen.text = performance.now();
  };
  look();
})();
"""
_SETTLED_MS = 1500
_SCRIPT = "**/regiontext/page/**"


@dataclass(frozen=True)
class _Waits:
    smart: list[float]
    first_word: list[float]
    full_text: list[float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 boxes instead of 20")
    parser.add_argument(
        "--data-dir", type=Path, help="of an earlier `regiontext up`; not started twice"
    )
    given = parser.parse_args()
    count = 5 if given.quick else 20
    starts: list[float] = []
    with tempfile.TemporaryDirectory() as made:
        folder = given.data_dir or Path(made)
        with running_stack(folder) as stack, running_chromium() as browser:
            waits = _waits(browser, stack, count)
            costs = _costs(browser, stack, max(5, count // 2))
            starts.append(stack.seconds_to_start)
        if given.data_dir is None:
            with running_stack(folder) as stack:
                starts.append(stack.seconds_to_start)
    size = sum(file.stat().st_size for file in _files())
    report(
        f"regiontext up, and {count} boxes drawn either way",
        [
            *(
                Claim("first_start_s", s, "s", "first start of `regiontext up`")
                for s in starts[:-1]
            ),
            Claim("second_start_s", starts[-1], "s", "second start", bar=20, at_most=True),
            Claim("caption_ms", statistics.median(waits.smart), "ms", "smart box to caption"),
            Claim("caption_slowest_ms", max(waits.smart), "ms", "the slowest of them"),
            Claim("first_word_ms", statistics.median(waits.first_word), "ms", "box to first word"),
            Claim("full_text_ms", statistics.median(waits.full_text), "ms", "box to whole text"),
            Claim("page_cost_ms", costs, "ms", "added to opening a task", bar=50, at_most=True),
            Claim("script_kb", size / 1000, "kB", "all of the script", bar=40, at_most=True),
        ],
    )


def _waits(browser: Browser, stack: Stack, count: int) -> _Waits:
    """Milliseconds, one per box."""
    assisted = islice((scene for scene in scenes(seed=31) if scene.arm == "assist"), 2 * count)
    found = _Waits([], [], [])
    page = _page(browser, stack)
    page.add_init_script(_CLOCK)
    # Waits until the image stands still, as a hand would.
    editor = Drawing(page, stack.url, stack.project)
    with stack.api() as api:
        for at, scene in enumerate(assisted):
            task, box = add_task(api, stack.project, scene), scene.objects[0].box
            editor.open(task, SIZE)
            if at % 2:
                editor.label("1")
                editor.drag(box)
                page.wait_for_function("window.__regiontextSeen.text", timeout=60_000)
                seen = page.evaluate("window.__regiontextSeen")
                found.first_word.append(seen["word"] - seen["up"])
                found.full_text.append(seen["text"] - seen["up"])
            else:
                editor.auto_annotation()
                editor.smart_box(box)
                start = time.perf_counter()
                editor.wait_for_captions(1)
                found.smart.append(1000 * (time.perf_counter() - start))
    page.context.close()
    return found


def _costs(browser: Browser, stack: Stack, rounds: int) -> float:
    """What the assistant adds to the processor time of opening a task, in milliseconds: least against least."""
    (scene,) = islice((s for s in scenes(seed=32) if s.arm == "assist"), 1)
    with stack.api() as api:
        task = add_task(api, stack.project, scene)
    pages = {name: _page(browser, stack) for name in ("with", "without")}
    # Both are routed: a page with a route has no cache, so that ours is compiled anew each time, as all else is.
    pages["with"].route(_SCRIPT, lambda route: route.continue_())
    pages["without"].route(_SCRIPT, lambda route: route.abort())
    spent: dict[str, list[float]] = {name: [] for name in pages}
    for _ in range(rounds):
        for name, page in pages.items():
            spent[name].append(_opening(page, stack, task, scene))
    for page in pages.values():
        page.context.close()
    return 1000 * (min(spent["with"]) - min(spent["without"]))


def _opening(page: Page, stack: Stack, task: int, scene: SceneTask) -> float:
    """Seconds of the main thread's processor time, from an empty page to a task that has been open for a moment."""
    page.goto("about:blank")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    Editor(page, stack.url, stack.project).open(task, SIZE)
    page.wait_for_timeout(_SETTLED_MS)
    metrics = session.send("Performance.getMetrics")["metrics"]
    session.detach()
    return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))


def _page(browser: Browser, stack: Stack) -> Page:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    sign_in(page, stack.url, stack.email, stack.password)
    return page


def _files() -> list[Path]:
    folder = Path(next(iter(page_files.__path__)))
    return [file for file in folder.iterdir() if file.suffix in (".js", ".css")]


if __name__ == "__main__":
    main()
