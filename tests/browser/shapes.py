"""What is drawn in the real editor to find out how it draws: labeling configs, and gestures on pictures.

A scene is one task. Its regions keep apart from each other, so that each can be told from the others by its ink.
Knows nothing of regiontext.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.browser.drawing import Drawing, Point
from tests.browser.pictures import Picture

__all__ = ["BRIEF", "SCENES", "Gesture", "Scene"]

_INK = "#ff00ff"
_FLAT = {
    "fillColor": _INK,
    "strokeColor": _INK,
    "fillOpacity": "1",
    "opacity": "1",
    "strokeWidth": "0",
}


def _control(tag: str, name: str, **attributes: str) -> str:
    drawn = " ".join(f'{key}="{value}"' for key, value in (_FLAT | attributes).items())
    label = f'<Label value="{name}" background="{_INK}"/>' if tag.endswith("Labels") else ""
    return f'<{tag} name="{name}" toName="img" {drawn}>{label}</{tag}>'


def _config(*controls: str, source: str = 'value="$image"') -> str:
    image = f'<Image name="img" {source} zoom="true" zoomControl="true" rotateControl="true"/>'
    return "\n".join(["<View>", image, *controls, "</View>"])


# A label's key is its place in the config.
_BOX, _DISC, _CORNERS, _DOT, _PAINT, _PATH = "123456"
_CONTROLS = (
    _control("RectangleLabels", "box", canRotate="true"),
    _control("EllipseLabels", "disc", canRotate="true"),
    _control("PolygonLabels", "corners"),
    _control("KeyPointLabels", "dot", strokeWidth="12"),
    _control("BrushLabels", "paint"),
    _control("VectorLabels", "path", closable="true", curves="true"),
)
_LABELLED = _config(*_CONTROLS)
_SEVERAL = _config(*_CONTROLS, source='valueList="$images"')
_BITMASK = _config(_control("BitmaskLabels", "mask"))
_LINES = _config(_control("VectorLabels", "line", curves="true", strokeWidth="4"))
_TREES = _config(_control("VectorLabels", "tree", skeleton="true", strokeWidth="4"))
_PLAIN = _config(
    _control("Rectangle", "box", canRotate="true"),
    _control("Ellipse", "disc", canRotate="true"),
    _control("Polygon", "corners"),
    _control("KeyPoint", "dot", strokeWidth="12"),
    _control("Brush", "paint"),
    _control("Vector", "path", closable="true", curves="true"),
)


@dataclass(frozen=True)
class Gesture:
    """One region: a name, Label Studio's shape, the points of the mouse in px, and how they are used."""

    name: str
    shape: str
    points: tuple[Point, ...]
    draw: Callable[[Drawing], None]
    image: int = 0


@dataclass(frozen=True)
class Scene:
    """A task: its labeling config, its pictures, how far the view is turned, and what is drawn."""

    config: str
    pictures: tuple[Picture, ...]
    gestures: tuple[Gesture, ...]
    quarters: int = 0
    draft: bool = field(default=False)


def _box(
    x0: float, y0: float, x1: float, y1: float, *, key: str = _BOX, turn: float = 0
) -> Gesture:
    def draw(editor: Drawing) -> None:
        editor.choose(key)
        editor.stroke([(x0, y0), ((x0 + x1) / 2, (y0 + y1) / 2), (x1, y1)])
        if turn:
            editor.turn_region((x0, y0, x1, y1), turn)

    name = f"rectangle turned by {turn:g} degrees" if turn else "rectangle"
    return Gesture(name, "rectangle", ((x0, y0), (x1, y1)), draw)


def _leaning_box(*points: Point) -> Gesture:
    def draw(editor: Drawing) -> None:
        editor.choose("rectangle-3-point-tool")
        editor.taps(points)

    return Gesture("rectangle by three points", "rectangle", points, draw)


def _disc(
    x: float, y: float, rx: float, ry: float, *, key: str = _DISC, turn: float = 0
) -> Gesture:
    def draw(editor: Drawing) -> None:
        editor.choose(key)
        editor.stroke([(x, y), (x + rx / 2, y + ry / 2), (x + rx, y + ry)])
        if turn:
            editor.turn_region((x - rx, y - ry, x + rx, y + ry), turn)

    name = f"ellipse turned by {turn:g} degrees" if turn else "ellipse"
    return Gesture(name, "ellipse", ((x, y), (x + rx, y + ry)), draw)


def _corners(name: str, *points: Point, key: str = _CORNERS) -> Gesture:
    def draw(editor: Drawing) -> None:
        editor.choose(key)
        editor.taps(points, close=True)

    return Gesture(name, "polygon", points, draw)


def _star(x: float, y: float, r: float) -> tuple[Point, ...]:
    turns = [index * 4 * math.pi / 5 for index in range(5)]
    return tuple((round(x + r * math.sin(t)), round(y - r * math.cos(t))) for t in turns)


def _dot(x: float, y: float, *, key: str = _DOT) -> Gesture:
    def draw(editor: Drawing) -> None:
        editor.choose(key)
        editor.tap((x, y))

    return Gesture("keypoint", "keypoint", ((x, y),), draw)


def _paint(
    name: str,
    *points: Point,
    erase: Sequence[Point] = (),
    zoom: int = 0,
    thinner: int = 0,
    key: str = _PAINT,
    shape: str = "brush",
) -> Gesture:
    def draw(editor: Drawing) -> None:
        editor.choose(key)
        for _ in range(thinner):
            editor.page.keyboard.press("[")
        if zoom:
            editor.zoom_in(points[0], zoom)
        editor.stroke(points)
        if erase:
            editor.tool("eraser")
            editor.stroke(erase)
        if zoom:
            editor.fit()

    return Gesture(name, shape, points, draw)


def _path(name: str, *points: Point, closed: bool = True, key: str = _PATH) -> Gesture:
    def draw(editor: Drawing) -> None:
        editor.choose(key)
        editor.taps(points, close=closed)
        if not closed:
            editor.page.keyboard.press("Escape")

    return Gesture(name, "vector", points, draw)


def _curve(
    name: str,
    first: Point,
    handle: Point,
    *points: Point,
    bend: Sequence[int] = (),
    closed: bool = True,
    key: str = _PATH,
) -> Gesture:
    """A path whose first vertex gets its handles by dragging; Shift+click bends the vertices in `bend`."""

    def draw(editor: Drawing) -> None:
        editor.choose(key)
        editor.tap(first, drag_to=handle)
        editor.taps(points)
        if closed:
            editor.tap(first)
        if bend:
            editor.page.keyboard.down("Shift")
            editor.taps([points[index - 1] for index in bend])
            editor.page.keyboard.up("Shift")
        if not closed:
            editor.page.keyboard.press("Escape")

    return Gesture(name, "vector", (first, *points), draw)


def _tree(name: str, stem: Sequence[Point], fork: int, branch: Sequence[Point]) -> Gesture:
    """A path, and another one from the `fork`-th of its vertices, which a tap makes the active one."""

    def draw(editor: Drawing) -> None:
        editor.choose("1")
        editor.taps(stem)
        editor.taps([stem[fork], *branch])
        editor.page.keyboard.press("Escape")

    return Gesture(name, "vector", (*stem, *branch), draw)


_SMALL = Picture((321, 215), seed=3)
_OUTLINES = Scene(
    _LABELLED,
    (Picture((641, 427), seed=1),),
    (
        _box(40, 80, 140, 140),
        _box(230, 90, 330, 150, turn=30),
        _box(30, 390, 130, 340),
        _disc(430, 80, 60, 30),
        _disc(560, 100, 50, 20, turn=-40),
        _corners("polygon", (40, 170), (130, 180), (120, 250), (80, 210), (50, 260)),
        _corners("bow tie", (160, 180), (250, 250), (250, 180), (160, 250)),
        _corners("pentagram", *_star(330, 215, 45)),
        _corners("two windings", (420, 170), (520, 170), (520, 270), (420, 270), (420, 190),
                 (500, 190), (500, 250), (440, 250), (440, 170)),
        _dot(580, 220),
        _box(200, 320, 290, 400, turn=140),
    ),
)  # fmt: skip
_PAINTED = Scene(
    _LABELLED,
    (_SMALL,),
    (
        _paint("brush", (20, 30), (90, 40), (40, 80), (110, 90)),
        _paint("brush, erased across", (150, 30), (290, 30), (290, 70), (150, 70),
               erase=((220, 10), (220, 90))),
        _paint("brush, short", (140, 110), (144, 110)),
        _paint("brush, zoomed in", (60, 150), (90, 160), (80, 180), zoom=10),
        _paint("brush, to the edge", (200, 150), (320, 160), (320, 200), (230, 200)),
    ),
    draft=True,
)  # fmt: skip
_MASKED = Scene(
    _BITMASK,
    (Picture((161, 107), seed=4),),
    (
        _paint("bitmask", (20, 30), (60, 20), (40, 50), thinner=2, key="1", shape="bitmask"),
        _paint("bitmask, erased across", (90, 60), (140, 60), (140, 90), (90, 90),
               erase=((115, 45), (115, 104)), key="1", shape="bitmask"),
    ),
)  # fmt: skip
_PATHS = Scene(
    _LABELLED,
    (_SMALL,),
    (
        _path("closed path", (20, 20), (80, 15), (90, 60), (40, 80)),
        _curve("closed path, first vertex curved", (130, 30), (150, 15), (200, 30), (210, 75), (150, 80)),
        _curve("closed path, three vertices curved", (30, 130), (50, 110), (100, 130), (110, 180), (45, 190),
               bend=(1, 3)),
        _path("closed path, star", *_star(190, 150, 40)),
        _path("closed path, two windings", (250, 110), (310, 110), (310, 170), (250, 170), (250, 120),
              (300, 120), (300, 160), (260, 160), (260, 110)),
    ),
)  # fmt: skip
_STROKED = Scene(
    _LINES,
    (_SMALL,),
    (
        _path("open path", (20, 20), (100, 30), (60, 70), (130, 90), closed=False, key="1"),
        _curve("open path, curved", (180, 40), (210, 10), (290, 60), (220, 110), bend=(1,),
               closed=False, key="1"),
        _curve("open path, last vertex curved", (40, 130), (60, 110), (120, 150), (90, 190), bend=(2,),
               closed=False, key="1"),
    ),
)  # fmt: skip
_UNLABELLED = Scene(
    _PLAIN,
    (_SMALL,),
    (
        _leaning_box((30, 30), (100, 50), (90, 85)),
        _leaning_box((130, 60), (200, 40), (190, 10)),
        _leaning_box((280, 30), (230, 50), (240, 80)),
        _box(20, 130, 80, 170, key="rectangle-tool"),
        _disc(130, 130, 30, 18, key="ellipse-tool"),
        _corners("polygon", (180, 110), (230, 115), (200, 150), key="polygon-tool"),
        _dot(270, 130, key="key-point-tool"),
        _paint("brush", (110, 180), (170, 190), key="brush-tool"),
        _path("closed path", (210, 170), (290, 175), (250, 205), key="vector-tool"),
    ),
)
_ON_TURNED_VIEW = (
    _box(25, 20, 75, 60),
    _box(110, 40, 160, 70, turn=30),
    _disc(250, 45, 40, 20),
    _disc(60, 110, 35, 15, turn=50),
    _corners("polygon", (120, 100), (170, 90), (160, 140), (130, 120)),
    _paint("brush", (200, 90), (260, 100), (220, 130)),
    _dot(290, 110),
    _paint("brush, erased across", (150, 175), (290, 175), erase=((220, 160), (220, 190))),
)


def _on_photograph(width: float, *, image: int = 0) -> tuple[Gesture, ...]:
    """A box around the dark square of a picture, and two other shapes, for pictures about 200 px wide."""
    side = 0.1 * width
    gestures = (
        _box(side, side, 2 * side, 2 * side),
        _corners("polygon", (80, 30), (130, 40), (110, 80), (70, 70)),
        _paint("brush", (30, 120), (90, 130), (60, 150)),
        _box(110, 110, 150, 135, turn=45),
    )
    return tuple(Gesture(g.name, g.shape, g.points, g.draw, image) for g in gestures)


BRIEF = Scene(
    _LABELLED,
    (_SMALL,),
    (
        _box(30, 50, 100, 100, turn=30),
        _curve("closed path, curved", (200, 30), (220, 15), (270, 30), (280, 75), (220, 80)),
        _paint("brush, erased across", (40, 170), (200, 170), erase=((120, 150), (120, 190))),
    ),
)
"""What the browser test draws afresh each time."""

SCENES: dict[str, Scene] = {
    "outlines": _OUTLINES,
    "painted": _PAINTED,
    "bitmask": _MASKED,
    "paths": _PATHS,
    "lines": _STROKED,
    "trees": Scene(
        _TREES,
        (_SMALL,),
        (
            _tree("fork", ((30, 30), (90, 60), (150, 40)), 1, ((100, 120), (60, 160))),
            _tree("fork at the first vertex", ((200, 100), (290, 120)), 0, ((220, 180),)),
        ),
    ),
    "unlabelled": _UNLABELLED,
    # A turned view lets no path be closed: the vector tool looks for the first vertex where it would stand upright.
    "lines-turned-90": Scene(
        _LINES,
        (_SMALL,),
        (_path("open path", (40, 30), (150, 50), (90, 120), (200, 180), closed=False, key="1"),),
        quarters=1,
    ),
    "turned-90": Scene(_LABELLED, (_SMALL,), _ON_TURNED_VIEW, quarters=1),
    "turned-180": Scene(_LABELLED, (_SMALL,), _ON_TURNED_VIEW, quarters=2),
    "turned-270": Scene(_LABELLED, (_SMALL,), _ON_TURNED_VIEW, quarters=3),
    **{
        f"exif-{orientation}": Scene(
            _LABELLED,
            (Picture((215, 161), orientation, seed=orientation),),
            _on_photograph(215),
        )
        for orientation in (3, 6, 8)
    },
    "exif-6-turned-90": Scene(
        _LABELLED, (Picture((215, 161), 6, seed=9),), _on_photograph(215), quarters=1
    ),
    "palette": Scene(_LABELLED, (Picture((215, 161), palette=True, seed=5),), _on_photograph(215)),
    "several": Scene(
        _SEVERAL,
        (Picture((215, 161), seed=6), Picture((181, 263), seed=7)),
        (*_on_photograph(215), *_on_photograph(181, image=1)),
    ),
}
"""The scenes by name."""
