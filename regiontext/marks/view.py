"""From an image and its regions to what a model is shown: pictures, and words that name the marks.

Training, inference and the preview all go through `render`. Knows nothing of questions, models or
labeling configs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

import numpy as np
from PIL import Image

from regiontext.errors import MarkError
from regiontext.evidence import DEFAULT_FACTS, FACTS, evidence_line
from regiontext.geometry import Box
from regiontext.marks.colours import contrasting_colours
from regiontext.marks.draw import draw_over
from regiontext.marks.kinds import (
    ANY_KIND,
    LARGEST_NUMBER,
    NUMBER,
    TRAINING_KINDS,
    check_kind,
)
from regiontext.marks.layout import Layout, Mark, lay_out_all
from regiontext.marks.phrase import phrase
from regiontext.marks.style import Style, inference_style, training_styles
from regiontext.region import Region

__all__ = ["SCOPES", "Rendered", "View", "crop_box", "render"]

SCOPES: Final = ("whole", "crop", "both")
_WHOLE: Final = ("min_side", "max_side", "alpha", "dots")
_REAL: Final = ("context", "width")
_OPTIONAL: Final = ("alpha", "width", "dots")
# A stroke as wide as a third of the picture's longer side still is a mark.
_WIDEST: Final = 112


@dataclass(frozen=True)
class View:
    """What of an image the model is shown, and how its regions are marked.

    scope: "whole" image, a "crop" around the regions, or "both" (two pictures, in that order).
    kind: a mark kind, or "any" (random with a generator, else rectangle). context: the crop grows
    by context * its side each way, as in Describe Anything's focal crop. min_side: the crop's sides
    before that growth, px. max_side: larger pictures are scaled down to it after the marks are
    drawn. evidence: which facts of `evidence.FACTS` go with the question as text; True for the
    size, place and relations, False for none. alpha, width, dots: given, they hold in every style,
    random ones too (see `Style`); None leaves them to the kind. Published results of ViP-LLaVA are
    with alpha 128 and width 3. MarkError if a value is out of range or of another type.
    """

    scope: str = "whole"
    kind: str = "rectangle"
    context: float = 1.0
    min_side: int = 48
    max_side: int = 1024
    evidence: bool | tuple[str, ...] = False
    alpha: int | None = None
    width: float | None = None
    dots: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be shown."""
        if self.scope not in SCOPES:
            raise MarkError(f"unknown scope {self.scope!r}; use one of {', '.join(SCOPES)}")
        if self.kind != ANY_KIND:
            check_kind(self.kind)
        self._check_types()
        if not (math.isfinite(self.context) and self.context >= 0):
            raise MarkError(f"context is {self.context}; it must be 0 or more")
        if self.min_side < 1 or self.max_side < 1:
            raise MarkError(
                f"min_side {self.min_side} and max_side {self.max_side} must be at least 1 px"
            )
        if self.width is not None and not 0 <= self.width <= _WIDEST:
            raise MarkError(f"width is {self.width}; it must lie in 0..{_WIDEST}")
        if not isinstance(self.evidence, bool):
            object.__setattr__(self, "evidence", tuple(self.evidence))
            unknown = [fact for fact in self.facts if fact not in FACTS]
            if unknown:
                raise MarkError(f"unknown evidence {unknown}; known are {', '.join(FACTS)}")
        self.styled(inference_style())

    def _check_types(self) -> None:
        for name in (*_WHOLE, *_REAL):
            value = getattr(self, name)
            kinds, what = (int, "a whole number") if name in _WHOLE else (int | float, "a number")
            optional = value is None and name in _OPTIONAL
            if not optional and (isinstance(value, bool) or not isinstance(value, kinds)):
                raise MarkError(f"{name} is {value!r}; it must be {what}")
        if not isinstance(self.evidence, bool | list | tuple):
            raise MarkError(
                f"evidence is {self.evidence!r}; it must be true, false or a list of "
                f"{', '.join(FACTS)}"
            )

    @property
    def facts(self) -> tuple[str, ...]:
        """The facts that go with the question."""
        if isinstance(self.evidence, bool):
            return DEFAULT_FACTS if self.evidence else ()
        return self.evidence

    def styled(self, style: Style) -> Style:
        """`style` with the alpha, width and number of dots that this view fixes."""
        return replace(
            style,
            alpha=style.alpha if self.alpha is None else self.alpha,
            width=style.width if self.width is None else self.width,
            dots=style.dots if self.dots is None else self.dots,
        )

    def to_dict(self) -> dict[str, Any]:
        """The view as JSON values, without what it leaves to the kind; `from_dict` reads it back."""
        found = {name: value for name, value in asdict(self).items() if value is not None}
        if not isinstance(self.evidence, bool):
            found["evidence"] = list(self.evidence)
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> View:
        """A view from JSON values; missing ones take the default; MarkError if unknown."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise MarkError(f"unknown view settings {unknown}; known are {sorted(known)}")
        return cls(**values)

    @property
    def hash(self) -> str:
        """sha256 hex of the settings; equal views have equal hashes."""
        plain = self.to_dict() | {"context": float(self.context)}
        if self.width is not None:
            plain["width"] = float(self.width)
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Rendered:
    """What the model is shown.

    images: RGB. phrases: one per region, in order. evidence: "" if the view has it off. hash:
    sha256 hex over the final pixels and the view's hash. marks: per picture one per region, in
    pixels of that picture before it was scaled down.
    """

    images: tuple[Image.Image, ...]
    phrases: tuple[str, ...]
    evidence: str
    hash: str
    marks: tuple[tuple[Mark, ...], ...] = ()


def render(
    image: Image.Image,
    regions: Sequence[Region],
    view: View,
    *,
    among: Sequence[Region] = (),
    rng: np.random.Generator | None = None,
) -> Rendered:
    """Draw `regions` on `image` as `view` says and name the marks.

    image: RGB, the upright image on which the regions are (their `size` must be its size). Crops
    first, then draws on the crop, so that mark sizes fit what is shown, then scales down. Without
    `rng` each region gets the fixed inference style in a colour of its own that stands out from the
    pixels it covers; with it, a random training style. Marks never share kind and colour; numbers,
    which count from 1 in the order of `regions`, never share the number. `among`: all regions of the
    image, for views whose evidence counts them. MarkError if there is no region, too many, or a size
    does not match.
    """
    _check(image, regions)
    size = image.size
    boxes: list[tuple[int, int, int, int]] = []
    if view.scope in ("whole", "both"):
        boxes.append((0, 0, *size))
    if view.scope in ("crop", "both"):
        boxes.append(crop_box(regions, size, context=view.context, min_side=view.min_side))
    scenes = [_cut(image, regions, box) for box in boxes]
    styles, layouts = _lay_out(scenes, view, rng)
    marks = tuple(tuple(map(Mark, styles, placed)) for placed in layouts)
    for (pixels, _), drawn in zip(scenes, marks, strict=True):
        draw_over(pixels, drawn)
    images = tuple(_fit(Image.fromarray(pixels), view.max_side) for pixels, _ in scenes)
    return Rendered(
        images=images,
        phrases=tuple(phrase(style) for style in styles),
        evidence=_evidence(image, regions, view, among),
        hash=_hash(images, view),
        marks=marks,
    )


def _evidence(
    image: Image.Image, regions: Sequence[Region], view: View, among: Sequence[Region]
) -> str:
    if not view.facts:
        return ""
    # Of the picture without marks: those would be among the colours.
    pixels = np.asarray(image) if "colours" in view.facts else None
    return evidence_line(regions, image.size, image=pixels, among=among, facts=view.facts)


def crop_box(
    regions: Sequence[Region], size: tuple[int, int], *, context: float = 1.0, min_side: int = 48
) -> tuple[int, int, int, int]:
    """The whole-pixel crop (x0, y0, x1, y1) around `regions` on an image of `size` (W, H).

    The union of their boxes, its sides raised to `min_side` about the centre, then grown by
    `context` times the side each way and cut at the image (after the focal crop of Describe
    Anything, arXiv 2504.16072, whose values are 48 and 1).
    """
    boxes = [region.box for region in regions]
    x0, x1 = _grown(min(b[0] for b in boxes), max(b[2] for b in boxes), context, min_side, size[0])
    y0, y1 = _grown(min(b[1] for b in boxes), max(b[3] for b in boxes), context, min_side, size[1])
    return x0, y0, x1, y1


def _grown(low: float, high: float, context: float, least: int, limit: int) -> tuple[int, int]:
    side = max(high - low, float(least))
    centre = (low + high) / 2
    reach = side * (0.5 + context)
    return max(0, math.floor(centre - reach)), min(limit, math.ceil(centre + reach))


_Scene = tuple[np.ndarray[Any, np.dtype[np.uint8]], list[Region]]


def _cut(image: Image.Image, regions: Sequence[Region], box: tuple[int, int, int, int]) -> _Scene:
    """The part of the image, a copy to draw on, and the regions in its coordinates."""
    if box == (0, 0, *image.size):
        return np.array(image), list(regions)
    whole: Box = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    return np.array(image.crop(box)), [region.crop(whole) for region in regions]


def _lay_out(
    scenes: Sequence[_Scene], view: View, rng: np.random.Generator | None
) -> tuple[list[Style], list[tuple[Layout, ...]]]:
    """One style per region for all scenes, and per scene one layout per region."""
    pixels, regions = scenes[-1]
    if rng is not None:
        kinds = TRAINING_KINDS if view.kind == ANY_KIND else (view.kind,)
        styles = [view.styled(style) for style in training_styles(rng, len(regions), kinds)]
        return styles, [lay_out_all(cut, styles, rng=rng) for _, cut in scenes]
    kind = "rectangle" if view.kind == ANY_KIND else view.kind
    numbered = kind == NUMBER
    styles = [
        view.styled(inference_style(kind, number=rank if numbered else None))
        for rank in range(1, len(regions) + 1)
    ]
    layouts = [lay_out_all(cut, styles) for _, cut in scenes]
    # Where marks run does not depend on their colours, but colours do on what is underneath.
    colours = contrasting_colours(pixels, layouts[-1], repeat=numbered)
    return [s.recoloured(c) for s, c in zip(styles, colours, strict=True)], layouts


def _fit(image: Image.Image, max_side: int) -> Image.Image:
    longest = max(image.size)
    if longest <= max_side:
        return image
    width, height = (max(1, round(side * max_side / longest)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _hash(images: Sequence[Image.Image], view: View) -> str:
    digest = hashlib.sha256(view.hash.encode())
    for image in images:
        digest.update(repr(image.size).encode())
        digest.update(image.tobytes())
    return digest.hexdigest()


def _check(image: Image.Image, regions: Sequence[Region]) -> None:
    if not regions:
        raise MarkError("no region to render; give at least one")
    if len(regions) > LARGEST_NUMBER:
        raise MarkError(
            f"{len(regions)} regions are more than {LARGEST_NUMBER}, the most that one image can "
            "tell apart; render fewer at a time"
        )
    if image.mode != "RGB":
        raise MarkError(f"the image has mode {image.mode}; load it with images.load_image (RGB)")
    for region in regions:
        if tuple(region.size) != image.size:
            raise MarkError(
                f"region {region.id!r} is on an image of {region.size[0]} x {region.size[1]}, "
                f"this one is {image.size[0]} x {image.size[1]}; decode it with size= of this image"
            )
