"""From scenes to what a model is trained and tested on: pictures as the view shows them, prompts and answers.

Everything follows from the seed. Pictures are rendered by regiontext.marks.view.render and prompts are put together by
regiontext.questions, the same functions that serve an annotator. Knows nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_server.worlds import asking, vocabulary
from model_server.worlds.paint import paint_labels
from model_server.worlds.scenes import Object, Scene, sample_scene
from regiontext.evidence import spatial
from regiontext.marks.kinds import ANY_KIND
from regiontext.marks.view import Rendered, View, crop_box, render
from regiontext.questions.prompt import prompt
from regiontext.region import Region

__all__ = ["Example", "Sample", "Turn", "bundled_view", "examples", "replay_samples", "scene_image"]

# Below this visible share of an object nothing is asked about it.
_LEAST_VISIBLE = 0.7


@dataclass(frozen=True, eq=False)
class Sample:
    """One prompt about one or more pictures (RGB); `options` is empty for an open question."""

    images: tuple[Image.Image, ...]
    prompt: str
    answer: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Turn:
    """One prompt and answer, with the kind of question (asking.KINDS or "spelling") and the attribute asked for."""

    prompt: str
    answer: str
    options: tuple[str, ...]
    kind: str
    attribute: str = ""


@dataclass(frozen=True, eq=False)
class Example:
    """A rendered view with its turns.

    labels: uint8[H, W] over the crop, 0 behind, else 1 + index into `objects`; targets: the marked objects' indices.
    """

    images: tuple[Image.Image, ...]
    turns: tuple[Turn, ...]
    labels: NDArray[np.uint8]
    objects: tuple[Object, ...]
    targets: tuple[int, ...]


def bundled_view() -> View:
    """The view of the bundled model: a crop with the region's rectangle on it, its size and place as text."""
    return View(
        scope="crop", kind="rectangle", context=0.3, min_side=48, max_side=224, evidence=True
    )


def scene_image(
    rng: np.random.Generator, **wanted: object
) -> tuple[Image.Image, list[tuple[Object, Region]]]:
    """Return a painted scene and its well visible objects, each with the region of its pixels.

    `wanted` goes to `sample_scene`: size, objects, held_back, must_have.
    """
    scene = sample_scene(rng, **wanted)  # type: ignore[arg-type]
    picture, labels = paint_labels(scene)
    return picture, [
        (thing, Region.from_mask(f"object-{index}", labels == index + 1))
        for index, thing in enumerate(scene.objects)
        if index in _visible(scene, labels)
    ]


def examples(
    seed: int | Sequence[int],
    view: View,
    *,
    training: bool = True,
    pairs: float = 0.3,
    kinds: Sequence[str] | None = None,
    scene_size: tuple[int, int] | None = None,
) -> Iterator[Example]:
    """Yield examples without end.

    `training`: marks of every kind in random styles and varied wordings; otherwise the view's own mark and the
    default wordings, as an annotator's session shows them. `pairs`: the share of examples about two regions.
    `kinds`: which of asking.KINDS to ask, all by default. Raises ValueError for an unknown kind.
    """
    asked = tuple(kinds) if kinds is not None else asking.KINDS
    unknown = sorted(set(asked) - set(asking.KINDS))
    if unknown or not asked:
        raise ValueError(f"kinds {unknown or 'empty'}; choose from {', '.join(asking.KINDS)}")
    single = tuple(kind for kind in asked if kind in ("caption", "attribute", "choice"))
    double = tuple(kind for kind in asked if kind in ("relation", "sentence"))
    rng = np.random.default_rng(seed)
    while True:
        scene = sample_scene(rng, size=scene_size)
        picture, labels = paint_labels(scene)
        seen = _visible(scene, labels)
        regions = {index: _drawn(rng, labels == index + 1, training) for index in seen}
        chosen: list[tuple[int, ...]] = []
        if single:
            chosen += [(index,) for index in seen]
        if double and len(seen) > 1:
            ordered = [(a, b) for a in seen for b in seen if a != b]
            rng.shuffle(ordered)
            share = pairs if single else 1.0
            wanted = len(seen) * share / max(1e-9, 1 - share) if share < 1 else len(ordered)
            count = int(wanted) + int(rng.random() < wanted % 1)
            chosen += [(int(a), int(b)) for a, b in ordered[: max(count, 0 if single else 1)]]
        for targets in chosen:
            about = [regions[index] for index in targets]
            shown = _render(rng, picture, about, view, training)
            turns = _turns(rng, scene, targets, about, shown, single, double, training)
            box = (0, 0, *picture.size)
            if view.scope != "whole":
                box = crop_box(about, picture.size, context=view.context, min_side=view.min_side)
            x0, y0, x1, y1 = box
            yield Example(shown.images, turns, labels[y0:y1, x0:x1], scene.objects, targets)


def replay_samples(
    n: int,
    seed: int,
    view: View,
    kinds: Sequence[str] | None = None,
) -> Iterator[Sample]:
    """Yield `n` samples of the world as an annotator's session shows them: the view's mark, the default wordings.

    `kinds`: which of asking.KINDS, all by default. Held-back words never occur. The same arguments give the same
    samples. Raises ValueError for an unknown kind.
    """
    rng = np.random.default_rng([seed, 1])
    stream = examples([seed, 2], view, training=False, kinds=kinds)
    for _ in range(n):
        example = next(stream)
        turn = example.turns[int(rng.integers(len(example.turns)))]
        yield Sample(example.images, turn.prompt, turn.answer, turn.options)


def _visible(scene: Scene, labels: NDArray[np.uint8]) -> list[int]:
    """The indices of objects of which enough is to be seen."""
    counts = np.bincount(labels.ravel(), minlength=len(scene.objects) + 1)
    return [
        index
        for index, thing in enumerate(scene.objects)
        if counts[index + 1]
        >= _LEAST_VISIBLE * _FILL.get(thing.shape, 0.5) * thing.width * thing.height
    ]


# What an upright outline covers of its box, at least.
_FILL = {
    "circle": 0.78, "square": 0.75, "triangle": 0.48, "star": 0.4, "heart": 0.6, "cross": 0.53,
    "diamond": 0.5, "ring": 0.58, "arrow": 0.45, "flower": 0.48, "bolt": 0.4, "cube": 0.7,
}  # fmt: skip


def _drawn(rng: np.random.Generator, mask: NDArray[np.bool_], training: bool) -> Region:
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


def _render(
    rng: np.random.Generator,
    picture: Image.Image,
    regions: Sequence[Region],
    view: View,
    training: bool,
) -> Rendered:
    """Render as the view says; in training half with the view's mark kind, half with any, mostly in random styles."""
    fate = rng.random() if training else 0.0
    if fate < 0.3:
        return render(picture, regions, view)
    kind = view.kind if fate < 0.6 else ANY_KIND
    return render(picture, regions, replace(view, kind=kind), rng=rng)


def _turns(
    rng: np.random.Generator,
    scene: Scene,
    targets: Sequence[int],
    regions: Sequence[Region],
    shown: Rendered,
    single: Sequence[str],
    double: Sequence[str],
    training: bool,
) -> tuple[Turn, ...]:
    plain = not training
    asked: list[asking.Asked] = []
    if len(targets) == 1:
        words = scene.objects[targets[0]].words
        if "caption" in single:
            asked.append(asking.caption(rng, words, plain=plain))
        for attribute in vocabulary.ATTRIBUTES:
            if "attribute" in single:
                asked.append(asking.open_attribute(rng, words, attribute, plain=plain))
            if "choice" in single:
                asked.append(asking.choice(rng, words, attribute, plain=plain))
    else:
        holds = spatial(regions[0], regions[1])
        first, second = (scene.objects[index].words for index in targets)
        if "relation" in double:
            asked.append(asking.relation(rng, holds, plain=plain))
            if training:
                asked.append(asking.relation(rng, holds))
        if "sentence" in double:
            asked.append(asking.relation_sentence(rng, first, second, holds, plain=plain))
    turns = []
    for each in asked:
        # Only the size needs the evidence; without it now and then, its absence is nothing strange.
        bare = training and each.attribute not in ("", "size") and rng.random() < 0.15
        words_shown = replace(shown, evidence="") if bare else shown
        text = prompt(each.question, words_shown)
        turns.append(Turn(text, each.answer, each.question.options, each.kind, each.attribute))
    return tuple(turns)
