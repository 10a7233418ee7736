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
from functools import cached_property
from typing import Any, Final

import numpy as np
from PIL import Image

from regiontext.errors import MarkError
from regiontext.evidence import DEFAULT_FACTS, FACTS, evidence_line
from regiontext.geometry import Box
from regiontext.marks.colours import contrasting_colours
from regiontext.marks.draw import draw_over
from regiontext.marks.frames import SCOPES, Frame, frames
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

__all__ = ["Rendered", "View", "render"]

_WHOLE: Final = ("min_side", "max_side", "alpha", "dots")
_REAL: Final = ("context", "width")
_OPTIONAL: Final = ("alpha", "width", "dots")
# A stroke as wide as a third of the picture's longer side still is a mark.
_WIDEST: Final = 112


@dataclass(frozen=True)
class View:
    """What of an image the model is shown, and how its regions are marked.

    scope: "whole" image, a "crop" around the regions, "both" (two pictures, in that order), or "each"
    (a crop for every region, see `frames`).
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

    images: RGB. phrases: one per region, in order. evidence: "" if the view has it off. view: how
    they are shown. marks: per picture one per region that is marked in it, in pixels of that
    picture before it was scaled down.
    """

    images: tuple[Image.Image, ...]
    phrases: tuple[str, ...]
    evidence: str
    view: View
    marks: tuple[tuple[Mark, ...], ...] = ()

    @cached_property
    def hash(self) -> str:
        """sha256 hex over the final pixels and the view's hash; made when first asked for."""
        digest = hashlib.sha256(self.view.hash.encode())
        for image in self.images:
            digest.update(repr(image.size).encode())
            digest.update(image.tobytes())
        return digest.hexdigest()


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
    parts = frames(regions, image.size, view.scope, context=view.context, min_side=view.min_side)
    scenes = [_cut(image, regions, frame) for frame in parts]
    styles, layouts = _lay_out(scenes, len(regions), view, rng)
    marks = tuple(
        tuple(Mark(styles[i], placed) for i, placed in zip(scene.members, row, strict=True))
        for scene, row in zip(scenes, layouts, strict=True)
    )
    for scene, drawn in zip(scenes, marks, strict=True):
        draw_over(scene.pixels, drawn)
    images = tuple(_fit(Image.fromarray(scene.pixels), view.max_side) for scene in scenes)
    return Rendered(
        images=images,
        phrases=tuple(phrase(style) for style in styles),
        evidence=_evidence(image, regions, view, among),
        view=view,
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


@dataclass(frozen=True, eq=False)
class _Scene:
    """A part of the image, a copy to draw on, and the regions that are marked in it, in its coordinates."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    regions: list[Region]
    members: tuple[int, ...]


def _cut(image: Image.Image, regions: Sequence[Region], frame: Frame) -> _Scene:
    box, own = frame.box, [regions[place] for place in frame.members]
    if box == (0, 0, *image.size):
        return _Scene(np.array(image), own, frame.members)
    edges: Box = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    return _Scene(np.array(image.crop(box)), [r.crop(edges) for r in own], frame.members)


def _lay_out(
    scenes: Sequence[_Scene], count: int, view: View, rng: np.random.Generator | None
) -> tuple[list[Style], list[tuple[Layout, ...]]]:
    """One style per region for all scenes, and per scene one layout per region that is marked in it."""

    def lay_out(scene: _Scene) -> tuple[Layout, ...]:
        return lay_out_all(scene.regions, [styles[i] for i in scene.members], rng=rng)

    if rng is not None:
        kinds = TRAINING_KINDS if view.kind == ANY_KIND else (view.kind,)
        styles = [view.styled(style) for style in training_styles(rng, count, kinds)]
        return styles, [lay_out(scene) for scene in scenes]
    kind = "rectangle" if view.kind == ANY_KIND else view.kind
    numbered = kind == NUMBER
    styles = [
        view.styled(inference_style(kind, number=rank if numbered else None))
        for rank in range(1, count + 1)
    ]
    layouts = [lay_out(scene) for scene in scenes]
    # Where marks run does not depend on their colours, but colours do on what is underneath.
    last = {
        place: (scene.pixels, layout)
        for scene, row in zip(scenes, layouts, strict=True)
        for place, layout in zip(scene.members, row, strict=True)
    }
    colours = contrasting_colours([last[place] for place in range(count)], repeat=numbered)
    return [s.recoloured(c) for s, c in zip(styles, colours, strict=True)], layouts


def _fit(image: Image.Image, max_side: int) -> Image.Image:
    longest = max(image.size)
    if longest <= max_side:
        return image
    width, height = (max(1, round(side * max_side / longest)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


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
