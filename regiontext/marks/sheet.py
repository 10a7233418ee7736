"""Contact sheets: every kind of mark on given regions, for a person to look at.

Each row is one kind: the fixed style of inference, then random styles of training, each over the
words that name it. The marked pictures are those a model is shown; the lettering around them comes
from Pillow's built-in font and may differ between its versions. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from regiontext.marks.frames import crop_box
from regiontext.marks.kinds import COLOURS, KINDS, NUMBER
from regiontext.marks.rgba import rgba
from regiontext.marks.side_by_side import side_by_side
from regiontext.marks.view import View, render
from regiontext.region import Region

__all__ = ["contact_sheet"]

_CELL: Final = (320, 240)
_GAP: Final = 10
_NAME: Final = 26
_LINE: Final = 17
_MOST_LINES: Final = 4
_HEAD: Final = 64
_INK, _FAINT, _PAPER, _BOARD = (24, 24, 28), (110, 110, 120), (255, 255, 255), (236, 236, 240)
_MOST_ENLARGED: Final = 6


@dataclass(frozen=True)
class _Cell:
    picture: Image.Image
    captions: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    name: str
    cells: tuple[_Cell, ...]


def contact_sheet(
    image: Image.Image,
    regions: Sequence[Region],
    *,
    title: str,
    scope: str = "crop",
    context: float = 0.5,
    seeds: Sequence[int] = (1, 2),
    kinds: Sequence[str] = KINDS,
) -> Image.Image:
    """`regions` marked in one picture, once per kind at inference and once per seed in training.

    image: RGB, of the regions' size. scope: one of `frames.SCOPES`; crops have `context` times the
    regions' sides around them, and several pictures stand side by side. Of a single region a last
    row shows the whole image, the focal crop, and the region as alpha over a chequerboard. More
    regions than colours are shown as numbers only. MarkError if there is no region or its size does not match.
    """
    view = View(scope=scope, context=context)
    if len(regions) > len(COLOURS):
        kinds = (NUMBER,)
    rows = [_kind_row(image, regions, replace(view, kind=kind), seeds) for kind in kinds]
    if len(regions) == 1:
        rows.append(_view_row(image, regions[0]))
    width = max(len(row.cells) for row in rows) * (_CELL[0] + _GAP) + _GAP
    height = _NAME + _CELL[1] + _LINE * min(len(regions), _MOST_LINES) + _GAP
    halves = min(2, len(rows))
    deep = -(-len(rows) // halves)
    sheet = Image.new("RGB", (halves * width + _GAP, _HEAD + deep * height + _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, (_GAP, 12), title, 20, _INK)
    legend = "  |  ".join(["inference", *(f"training, seed {seed}" for seed in seeds)])
    _write(pen, (_GAP, 38), f"from left to right:  {legend}", 13, _FAINT)
    for index, row in enumerate(rows):
        column, line = divmod(index, deep)
        _paste(sheet, pen, row, column * (width + _GAP) + _GAP, _HEAD + line * height)
    return sheet


def _kind_row(
    image: Image.Image, regions: Sequence[Region], view: View, seeds: Sequence[int]
) -> _Row:
    # The kind's place belongs to the seed, or all kinds would share one random colour.
    generators = [np.random.default_rng([seed, KINDS.index(view.kind)]) for seed in seeds]
    shown = [render(image, regions, view, rng=rng) for rng in (None, *generators)]
    return _Row(view.kind, tuple(_Cell(side_by_side(s.images), s.phrases) for s in shown))


def _view_row(image: Image.Image, region: Region) -> _Row:
    box = crop_box([region], image.size)
    cut = rgba(np.asarray(image), region)[box[1] : box[3], box[0] : box[2]]
    side = max(4, max(cut.shape[:2]) // 24)
    rows, columns = np.indices(cut.shape[:2]) // side
    board = np.where((rows + columns) % 2 == 0, 210, 245).astype(np.uint8)[..., None]
    alone = np.where(cut[..., 3:] > 0, cut[..., :3], board)
    return _Row(
        "views",
        (
            _Cell(image, ("the whole image",)),
            _Cell(image.crop(box), ("the focal crop",)),
            _Cell(Image.fromarray(alone), ("the region in the alpha channel",)),
        ),
    )


def _paste(sheet: Image.Image, pen: ImageDraw.ImageDraw, row: _Row, x: int, y: int) -> None:
    _write(pen, (x, y + 3), row.name, 16, _INK)
    for index, cell in enumerate(row.cells):
        left, top = x + index * (_CELL[0] + _GAP), y + _NAME
        pen.rectangle((left, top, left + _CELL[0] - 1, top + _CELL[1] - 1), fill=_BOARD)
        picture = _fitted(cell.picture)
        sheet.paste(
            picture,
            (left + (_CELL[0] - picture.width) // 2, top + (_CELL[1] - picture.height) // 2),
        )
        lines = list(cell.captions[:_MOST_LINES])
        if len(cell.captions) > _MOST_LINES:
            lines[-1] = f"and {len(cell.captions) - _MOST_LINES + 1} more"
        for line, words in enumerate(lines):
            _write(pen, (left, top + _CELL[1] + 3 + _LINE * line), words, 14, _FAINT)


def _fitted(picture: Image.Image) -> Image.Image:
    """`picture` scaled to fit a cell."""
    scale = min(_CELL[0] / picture.width, _CELL[1] / picture.height, _MOST_ENLARGED)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _write(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], words: str, size: int, ink: tuple[int, int, int]
) -> None:
    pen.text(at, words, font=ImageFont.load_default(size), fill=ink)
