"""docs/marks.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from regiontext.marks.kinds import KINDS
from regiontext.marks.phrase import phrase
from regiontext.marks.style import inference_style, training_style
from regiontext.marks.view import View

DOCS = Path(__file__).resolve().parents[3] / "docs"
TEXT = (DOCS / "marks.md").read_text(encoding="utf-8")


def row(first: str) -> list[str]:
    (line,) = (line for line in TEXT.splitlines() if line.startswith(f"| `{first}` |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def ranges(cell: str, name: str) -> tuple[int, int] | None:
    found = re.search(rf"\b{name} U\{{(\d+)\.\.(\d+)\}}", cell)
    return (int(found[1]), int(found[2])) if found else None


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_kinds_is_that_of_the_code(kind: str) -> None:
    _, words, _, fixed, random = row(kind)
    style = inference_style(kind, number=3 if kind == "number" else None)
    assert words == phrase(style)
    assert f"alpha {style.alpha}" in fixed
    sizes = ("width", "half-width", "radius", "cell")
    if style.width:
        assert re.search(rf"\b(?:{'|'.join(sizes)}) {style.width:g}\b", fixed)
    drawn = [training_style(np.random.default_rng(seed), (kind,)) for seed in range(1500)]
    alphas, widths = [s.alpha for s in drawn], {s.width for s in drawn}
    low, high = ranges(random, "alpha") or (0, 0)
    assert low <= min(alphas) < low + 3 and high - 3 < max(alphas) <= high
    stated = {found for size in sizes if (found := ranges(random, size))}
    assert stated == ({(min(widths), max(widths))} if style.width else set())


def test_the_table_of_settings_is_that_of_the_view() -> None:
    for name, value in View().to_dict().items():
        shown = row(name)[1].strip("`")
        assert shown == (f'"{value}"' if isinstance(value, str) else str(value).lower())


def test_the_pictures_are_there() -> None:
    pictures = re.findall(r"\]\((images/[^)]+)\)", TEXT)
    assert len(pictures) == 2 and all((DOCS / picture).is_file() for picture in pictures)
