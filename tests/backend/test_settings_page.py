"""docs/settings.md names every setting."""

from __future__ import annotations

from pathlib import Path

from backend.settings import Settings
from backend.settings_page import _PARTS, page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_setting_says_what_it_does() -> None:
    silent = [name for name, field in Settings.model_fields.items() if not field.description]
    assert not silent


def test_the_page_is_that_of_the_settings() -> None:
    written = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert written == page(), "remake it: python -m backend.settings_page > docs/settings.md"


def test_every_part_begins_with_a_setting() -> None:
    assert _PARTS.keys() <= Settings.model_fields.keys()


def test_every_variable_stands_in_it_once() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `REGIONTEXT_")]
    for name in Settings.model_fields:
        assert sum(f"`REGIONTEXT_{name.upper()}`" in row.split("|")[1] for row in rows) == 1, name
