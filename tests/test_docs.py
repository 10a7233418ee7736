"""The documents lead where they say, and name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from regiontext.conventions import CONVENTIONS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
    return [link for link in found if "://" not in link]


def anchors(page: Path) -> set[str]:
    """GitHub's: of every heading its words in small letters, without signs, joined by dashes."""
    heads = re.findall(r"^#+ (.+)$", text_of(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


def test_every_picture_is_shown_somewhere() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(page)}
    assert set((DOCS / "images").iterdir()) <= shown


def test_every_page_stands_in_the_index() -> None:
    index = {(DOCS / link).resolve() for link in links(DOCS / "README.md")}
    pages = {page for page in DOCS.glob("*.md") if page.name != "README.md"}
    assert pages <= index


def test_the_front_door_is_short() -> None:
    assert len(text_of(ROOT / "README.md").splitlines()) <= 130


def test_exports_name_every_convention_of_coordinates() -> None:
    text = text_of(DOCS / "exports.md")
    assert not [name for name in CONVENTIONS if f"`{name}`" not in text]
