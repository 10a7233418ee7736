"""The machine's own Chromium, headless, as every browser test has it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright

__all__ = ["running_chromium"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
# What takes a second takes many on a busy machine; a test that passes does not wait for it.
expect.set_options(timeout=30_000)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """A browser for the block; AssertionError with the remedy if there is none."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    assert path, f"none of {', '.join(NAMES)} found on the path: apt-get install chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield running
        running.close()
