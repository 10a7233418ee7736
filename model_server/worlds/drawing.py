"""How a region comes to be drawn and marked: by an annotator's hand, in the view of a session or in training's variety.

Knows nothing of questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regiontext.marks.view import Rendered, View, render
from regiontext.region import Region

__all__ = ["TRAINED_KINDS", "bundled_view", "drawn", "half_hidden", "marked", "training_view"]

# Marks of other kinds are never trained on, so that they can tell how well the model reads an unknown one.
TRAINED_KINDS: tuple[str, ...] = (
    "rectangle", "ellipse", "point", "triangle", "scribble", "mask", "contour", "arrow", "patch", "dots",
)  # fmt: skip

# Marks that tint the object's own pixels are the hardest to read through.
_DRAWN_MORE_OFTEN: tuple[str, ...] = ("mask", "patch")


def bundled_view() -> View:
    """The view of the bundled model: a crop of each region with its rectangle on it, its size and place as text."""
    return View(
        scope="each", kind="rectangle", context=0.3, min_side=48, max_side=224, evidence=True
    )


def drawn(rng: np.random.Generator, mask: NDArray[np.bool_], *, training: bool) -> Region:
    """The region as an annotator would draw it: a brush mask, or a box or ellipse that is not quite tight."""
    fate = rng.random()
    tight = Region.from_mask("r", mask)
    if fate < 0.3:
        return tight
    x0, y0, x1, y1 = tight.box
    height, width = mask.shape
    loose = rng.uniform(-0.03, 0.07, size=4) if training else rng.uniform(0.0, 0.04, size=4)
    dx, dy = x1 - x0, y1 - y0
    box = (
        max(0.0, x0 - loose[0] * dx),
        max(0.0, y0 - loose[1] * dy),
        min(float(width), x1 + loose[2] * dx),
        min(float(height), y1 + loose[3] * dy),
    )
    if fate < 0.9:
        return Region.from_box("r", box, (width, height))
    t = np.linspace(0, 2 * math.pi, 36, endpoint=False)
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    radii = ((box[2] - box[0]) / 2 * 1.1, (box[3] - box[1]) / 2 * 1.1)
    ring = np.stack([centre[0] + radii[0] * np.cos(t), centre[1] + radii[1] * np.sin(t)], axis=1)
    return Region("r", "ellipse", (width, height), polygons=(ring,))


def training_view(
    rng: np.random.Generator, view: View, *, vary: bool = True, marks: int = 1
) -> View:
    """The view of one training example: a random kind of mark and, with `vary`, now and then a wider view.

    A model of crops learns from whole pictures, and from crops in between, to go by the mark: in a tight crop the
    object in the middle is meant, mark or no mark. `marks`: how many objects are marked; several that have a picture
    each are seldom shown together, since there they are too small to be compared.
    """
    kind = view.kind
    if rng.random() >= 0.2 or kind not in TRAINED_KINDS:
        some = (*TRAINED_KINDS, *_DRAWN_MORE_OFTEN)
        kind = some[int(rng.integers(len(some)))]
    shown = replace(view, kind=kind)
    if vary and view.scope in ("crop", "each"):
        fate, often = rng.random(), 0.55
        if view.scope == "each" and marks > 1:
            often = 0.15
        if fate < often:
            return replace(shown, scope="whole")
        if fate < often + 0.15:
            return replace(shown, context=float(rng.uniform(view.context, 2.5)))
    return shown


def half_hidden(
    rng: np.random.Generator, picture: Image.Image, regions: Sequence[Region]
) -> Image.Image:
    """The picture with a plain bar over a part of each region, 5 to 25 % of its box.

    For training: what is partly covered is to be told from the rest of it (random erasing, Zhong et al. 2020, arXiv
    1708.04896), as it has to be under a mark that hides some of it.
    """
    covered = picture.copy()
    pen = ImageDraw.Draw(covered)
    for region in regions:
        x0, y0, x1, y1 = region.box
        share, ratio = rng.uniform(0.05, 0.25), math.exp(rng.uniform(-0.7, 0.7))
        width = (x1 - x0) * min(1.0, math.sqrt(share * ratio))
        height = (y1 - y0) * min(1.0, math.sqrt(share / ratio))
        x, y = rng.uniform(x0, x1 - width), rng.uniform(y0, y1 - height)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        pen.rectangle((x, y, x + width, y + height), fill=colour)
    return covered


def marked(
    rng: np.random.Generator,
    picture: Image.Image,
    regions: Sequence[Region],
    view: View,
    *,
    training: bool,
) -> Rendered:
    """Render the regions as `view` says; in training rather more often in a random style than in the fixed one."""
    if training and rng.random() < 0.55:
        return render(picture, regions, view, rng=rng)
    return render(picture, regions, view)
