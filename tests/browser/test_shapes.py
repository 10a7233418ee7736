"""Shapes drawn in the real editor by mouse, and our masks of what Label Studio then stores.

The many shapes are in tests/fixtures/editor, recorded by `tests.browser.record_shapes`; these few are drawn anew, so
that a Label Studio which draws or stores them in another way is noticed.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.browser.record_shapes import record
from tests.browser.shapes import BRIEF
from tests.label_studio_server import LabelStudioServer
from tests.regiontext.labelstudio.agreement import assert_as_seen

pytestmark = [pytest.mark.browser, pytest.mark.label_studio]


def test_shapes_drawn_now_are_decoded_as_the_editor_shows_them(
    browser: Browser, label_studio: LabelStudioServer
) -> None:
    recording = record(browser, label_studio, BRIEF)
    for gesture, result, seen in zip(
        BRIEF.gestures, recording.results, recording.seen, strict=True
    ):
        region = assert_as_seen(result, seen, gesture.points)
        assert region.labels == (result["from_name"],)
    (turned, path, brush) = recording.results
    assert turned["value"]["rotation"] == pytest.approx(30, abs=2)
    assert path["value"]["closed"] and path["value"]["vertices"][0]["isBezier"]
    assert brush["value"]["format"] == "rle" and "touches" not in brush["value"]
