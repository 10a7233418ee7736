from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from backend.report.figures import figures
from backend.report.page import page
from backend.settings import Settings
from backend.store import open_store
from tests.backend.report.sample import HOSTILE, seed

pytestmark = pytest.mark.browser

# Where pictures of the page are left for looking at; nowhere unless told.
SHOTS = os.environ.get("REGIONTEXT_TEST_SCREENSHOTS")
DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    "AABJRU5ErkJggg=="
)


def test_it_fits_a_phone_and_a_screen_in_light_and_dark(
    browser: Browser, tmp_path: Path, database_url: str
) -> None:
    store = open_store(database_url)
    seed(store, tmp_path)
    settings = Settings(data_dir=tmp_path, database_url=database_url, _env_file=None)
    html = page(figures(settings, store), [], lambda one: DOT)
    store.close()
    file = tmp_path / "report.html"
    file.write_text(html, encoding="utf-8")
    backgrounds = set()
    asked: list[str] = []
    faults: list[str] = []
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            tab.on("request", lambda r: asked.append(r.url))
            tab.on("console", lambda m: faults.append(m.text))
            tab.on("dialog", lambda d: faults.append(d.message))
            tab.goto(file.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
            assert faults == []
            plots = tab.locator("svg")
            assert plots.count() == 4
            for n in range(4):
                box = plots.nth(n).bounding_box()
                assert box is not None
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width
                assert box["height"] > 80
            assert HOSTILE in (tab.locator(".gallery").text_content() or "")
            colour = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            backgrounds.add((scheme, colour))
            if SHOTS:
                tab.screenshot(path=f"{SHOTS}/report-{width}-{scheme}.png", full_page=True)
            tab.close()
    assert len(backgrounds) == 2
