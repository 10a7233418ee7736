"""From scenes to what a model is trained and tested on: pictures as the view shows them, prompts and answers.

Everything follows from the seed. Pictures are rendered by regiontext.marks.view.render and prompts are put together by
regiontext.questions, the same functions that serve an annotator. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_server.worlds import asking
from model_server.worlds.drawing import bundled_view, drawn, half_hidden, marked, training_view
from model_server.worlds.paint import paint_labels
from model_server.worlds.pairs import shared
from model_server.worlds.scenes import Object, Scene, sample_scene
from model_server.worlds.turns import PAIR_KINDS, SINGLE_KINDS, Turn, pair_turns, single_turns
from regiontext.marks.frames import frames
from regiontext.marks.style import Style
from regiontext.marks.view import View
from regiontext.region import Region

__all__ = [
    "Example",
    "Sample",
    "Turn",
    "bundled_view",
    "examples",
    "replay_samples",
    "scene_image",
    "visible",
]

# Below this visible share of an object nothing is asked about it.
_LEAST_VISIBLE = 0.7
# In training, how often something lies over a part of what is asked about.
_HALF_HIDDEN = 0.2


@dataclass(frozen=True, eq=False)
class Sample:
    """One prompt about one or more pictures (RGB); `options` is empty for an open question."""

    images: tuple[Image.Image, ...]
    prompt: str
    answer: str
    options: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Example:
    """A rendered view with its turns.

    labels: for each picture uint8[H, W], 0 behind, else 1 + index into `objects`; targets: the marked objects' indices;
    styles: how each of these is marked; members: for each picture, which of these are marked in it, by their place.
    """

    images: tuple[Image.Image, ...]
    turns: tuple[Turn, ...]
    labels: tuple[NDArray[np.uint8], ...]
    objects: tuple[Object, ...]
    targets: tuple[int, ...]
    styles: tuple[Style, ...]
    members: tuple[tuple[int, ...], ...]


def scene_image(
    rng: np.random.Generator, **wanted: object
) -> tuple[Image.Image, list[tuple[Object, Region]]]:
    """Return a painted scene and its well visible objects, each with the region of its pixels.

    `wanted` goes to `sample_scene`: size, objects, held_back, must_have.
    """
    scene = sample_scene(rng, **wanted)  # type: ignore[arg-type]
    picture, labels = paint_labels(scene)
    seen = visible(scene, labels)
    return picture, [
        (thing, Region.from_mask(f"object-{index}", labels == index + 1))
        for index, thing in enumerate(scene.objects)
        if index in seen
    ]


def examples(
    seed: int | Sequence[int],
    view: View,
    *,
    training: bool = True,
    pairs: float = 0.3,
    kinds: Sequence[str] | None = None,
    scene_size: tuple[int, int] | None = None,
    combinations: str = "trained",
    vary: bool = True,
) -> Iterator[Example]:
    """Yield examples without end.

    `training`: marks of every trained kind in random styles and varied wordings, and with `vary` now and then a wider
    view; otherwise the view's own mark and the default wordings, as an annotator's session shows them. `pairs`: the
    share of examples about two regions. `kinds`: which of asking.KINDS to ask, all by default. `combinations`: as in
    `sample_scene`. Raises ValueError for an unknown kind.
    """
    asked = tuple(kinds) if kinds is not None else asking.KINDS
    unknown = sorted(set(asked) - set(asking.KINDS))
    if unknown or not asked:
        raise ValueError(f"kinds {unknown or 'empty'}; choose from {', '.join(asking.KINDS)}")
    single = tuple(kind for kind in asked if kind in SINGLE_KINDS)
    double = tuple(kind for kind in asked if kind in PAIR_KINDS)
    rng = np.random.default_rng(seed)
    while True:
        scene = sample_scene(rng, size=scene_size, combinations=combinations)
        picture, labels = paint_labels(scene)
        seen = visible(scene, labels)
        regions = {index: drawn(rng, labels == index + 1, training=training) for index in seen}
        for targets in _chosen(rng, seen, single, double, pairs, scene.objects if training else ()):
            about = [regions[index] for index in targets]
            own = training_view(rng, view, vary=vary, marks=len(targets)) if training else view
            if training and own.scope != view.scope and _tiny(about, picture.size):
                own = replace(own, scope=view.scope, context=float(rng.uniform(view.context, 2.5)))
            seen_so = picture
            if training and rng.random() < _HALF_HIDDEN:
                seen_so = half_hidden(rng, picture, about)
            shown = marked(rng, seen_so, about, own, training=training)
            if len(targets) == 1:
                turns = single_turns(
                    rng,
                    scene.objects,
                    targets[0],
                    shown,
                    single,
                    training=training,
                    whole=own.scope in ("whole", "both"),
                )
            else:
                turns = pair_turns(
                    rng, scene.objects, targets, about, shown, double, training=training
                )
            parts = frames(
                about, picture.size, own.scope, context=own.context, min_side=own.min_side
            )
            styles = {
                place: mark.style
                for part, marks in zip(parts, shown.marks, strict=True)
                for place, mark in zip(part.members, marks, strict=True)
            }
            yield Example(
                shown.images,
                turns,
                tuple(labels[y0:y1, x0:x1] for (x0, y0, x1, y1) in (part.box for part in parts)),
                scene.objects,
                targets,
                tuple(styles[place] for place in range(len(targets))),
                tuple(part.members for part in parts),
            )


def _chosen(
    rng: np.random.Generator,
    seen: Sequence[int],
    single: Sequence[str],
    double: Sequence[str],
    pairs: float,
    objects: Sequence[Object] = (),
) -> list[tuple[int, ...]]:
    """Which objects of a scene are marked together: each alone, and as many random pairs as their share asks for.

    `objects`: given those of the scene, every other pair shares a word where one can, since few would by chance.
    """
    chosen: list[tuple[int, ...]] = [(index,) for index in seen] if single else []
    if double and len(seen) > 1:
        ordered = [(a, b) for a in seen for b in seen if a != b]
        rng.shuffle(ordered)
        alike = [pair for pair in ordered if objects and shared(*(objects[i].words for i in pair))]
        other = [pair for pair in ordered if pair not in alike]
        ordered = [pair for both in zip_longest(alike, other) for pair in both if pair]
        if alike and other and rng.random() < 0.5:
            ordered[0], ordered[1] = ordered[1], ordered[0]
        share = pairs if single else 1.0
        wanted = len(seen) * share / max(1e-9, 1 - share) if share < 1 else len(ordered)
        count = int(wanted) + int(rng.random() < wanted % 1)
        chosen += [(int(a), int(b)) for a, b in ordered[: max(count, 0 if single else 1)]]
    return chosen


def _tiny(regions: Sequence[Region], size: tuple[int, int]) -> bool:
    """Whether a region is so small that the whole picture, scaled down for the model, shows nothing of it."""
    boxes = [region.box for region in regions]
    return any(max(x1 - x0, y1 - y0) < 0.15 * max(size) for x0, y0, x1, y1 in boxes)


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


# What an upright outline covers of its box, at least.
_FILL = {
    "circle": 0.78, "square": 0.75, "triangle": 0.48, "star": 0.4, "heart": 0.6, "cross": 0.53,
    "diamond": 0.5, "ring": 0.58, "arrow": 0.45, "flower": 0.48, "bolt": 0.4, "cube": 0.7,
}  # fmt: skip


def visible(scene: Scene, labels: NDArray[np.uint8]) -> list[int]:
    """The indices of objects of which enough is to be seen."""
    counts = np.bincount(labels.ravel(), minlength=len(scene.objects) + 1)
    return [
        index
        for index, thing in enumerate(scene.objects)
        if counts[index + 1]
        >= _LEAST_VISIBLE * _FILL.get(thing.shape, 0.5) * thing.width * thing.height
    ]
