"""What RegionBench asks: marked pictures of held-out scenes, prompts, and the right answers.

Everything follows from the seed and the view. Pictures come from regiontext.marks.view.render and prompts from
regiontext.questions, as they do for an annotator. Knows nothing of servers or of scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_server.worlds import asking
from model_server.worlds.drawing import TRAINED_KINDS, drawn
from model_server.worlds.paint import paint_labels
from model_server.worlds.samples import visible
from model_server.worlds.scenes import Object, Scene, sample_scene
from model_server.worlds.shapes import outline, rasterise
from model_server.worlds.turns import Turn, pair_turns, single_turns
from regiontext.marks.view import Rendered, View, render
from regiontext.questions.prompt import prompt
from regiontext.region import Region

__all__ = [
    "AGREEING_KINDS",
    "HELD_OUT_SEED",
    "UNSEEN_KIND",
    "Item",
    "control_items",
    "kind_items",
    "pair_items",
    "region_items",
]

# Far from every training seed.
HELD_OUT_SEED = 990_001

# A mark of this kind is never trained on.
UNSEEN_KIND = "number"

# The kinds in which a region is drawn to see whether the answers agree.
AGREEING_KINDS = ("rectangle", "ellipse", "contour")


@dataclass(frozen=True, eq=False)
class Item:
    """One question about one rendered view (pictures RGB), and what is known about the case.

    suite: which part of the benchmark; kind, attribute: as in worlds.turns.Turn; region: a number that items about
    the same region share; tags: slice names and values; other: in the controls, the caption of another object of the
    picture that could be meant; meant: there, the share of the picture's objects that could be meant that have this
    caption, 0..1: how often a guess among them is right.
    """

    suite: str
    images: tuple[Image.Image, ...]
    prompt: str
    answer: str
    options: tuple[str, ...] = ()
    kind: str = "caption"
    attribute: str = ""
    region: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    other: str = ""
    meant: float = 0.0


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A painted scene: which objects can be asked about, their regions as drawn, and how much of each is hidden."""

    picture: Image.Image
    objects: tuple[Object, ...]
    regions: Mapping[int, Region]
    hidden: Mapping[int, float]


def region_items(
    view: View,
    regions: int,
    *,
    seed: int = HELD_OUT_SEED,
    kinds: Sequence[str] = TRAINED_KINDS,
    combinations: str = "trained",
    suite: str = "regions",
    asked: Sequence[str] = ("caption", "attribute", "choice", "yesno"),
    each: int = 3,
) -> Iterator[Item]:
    """Ask everything about `regions` regions, at most `each` of a scene, the kinds of mark taking turns."""
    rng = np.random.default_rng([seed, 21])
    number = 0
    for scene in _scenes(seed, combinations):
        chosen = [int(i) for i in rng.permutation(list(scene.regions))[:each]]
        for index in chosen:
            if number == regions:
                return
            kind = kinds[number % len(kinds)]
            shown = render(scene.picture, [scene.regions[index]], replace(view, kind=kind))
            turns = single_turns(rng, scene.objects, index, shown, asked, training=False)
            tags = _tags(scene, index) | {"mark": kind}
            yield from (_item(suite, shown, turn, number, tags) for turn in turns)
            number += 1


def kind_items(
    view: View, regions: int, kinds: Sequence[str], *, seed: int = HELD_OUT_SEED, suite: str
) -> Iterator[Item]:
    """Ask for the captions of `regions` regions, each of which is drawn in every one of `kinds`."""
    rng = np.random.default_rng([seed, 22])
    for number, scene in enumerate(islice(_scenes(seed + 2, "trained"), regions)):
        index = int(rng.permutation(list(scene.regions))[0])
        for kind in kinds:
            shown = render(scene.picture, [scene.regions[index]], replace(view, kind=kind))
            turns = single_turns(rng, scene.objects, index, shown, ("caption",), training=False)
            tags = _tags(scene, index) | {"mark": kind}
            yield from (_item(suite, shown, turn, number, tags) for turn in turns)


def pair_items(view: View, pairs: int, *, seed: int = HELD_OUT_SEED) -> Iterator[Item]:
    """Ask how two marked regions relate, for `pairs` ordered pairs; every other pair shares a word where one can."""
    rng = np.random.default_rng([seed, 23])
    number = 0
    for scene in _scenes(seed + 1, "trained"):
        seen = list(scene.regions)
        ordered = [(a, b) for a in seen for b in seen if a != b]
        if not ordered:
            continue
        alike = [(a, b) for a, b in ordered if _alike(scene.objects[a], scene.objects[b])]
        some = alike if alike and number % 2 else ordered
        targets = some[int(rng.integers(len(some)))]
        about = [scene.regions[index] for index in targets]
        shown = render(scene.picture, about, view)
        turns = pair_turns(
            rng,
            scene.objects,
            targets,
            about,
            shown,
            ("relation", "same", "sentence"),
            training=False,
        )
        for turn in turns:
            tags = {"answer": turn.answer} if turn.options else {}
            yield _item("pairs", shown, turn, number, tags)
        number += 1
        if number == pairs:
            return


def control_items(view: View, pictures: int, *, seed: int = HELD_OUT_SEED) -> Iterator[Item]:
    """Ask for the caption of a marked object in whole pictures without evidence: marked, mark removed, mark moved.

    The three suites "marked", "removed" and "moved" put the same words to the same picture; only the mark differs. In
    "moved" the answer is the caption of the object that the mark moved to, and `other` that of the first one.
    """
    rng = np.random.default_rng([seed, 24])
    whole = replace(view, scope="whole", evidence=False)
    number = 0
    for scene in _scenes(seed + 3, "trained"):
        seen = [i for i in scene.regions if scene.objects[i].size != "small"]
        if len(seen) < 2:
            continue
        one, other = (int(i) for i in rng.permutation(seen)[:2])
        captions = [scene.objects[i].caption for i in (one, other)]
        meant = [sum(scene.objects[i].caption == c for i in seen) / len(seen) for c in captions]
        if captions[0] == captions[1]:
            continue
        kind = TRAINED_KINDS[number % len(TRAINED_KINDS)]
        views = [
            render(scene.picture, [scene.regions[i]], replace(whole, kind=kind))
            for i in (one, other)
        ]
        question = asking.caption(rng, scene.objects[one].words, plain=True).question
        bare = _unmarked(scene.picture, whole)
        first = Item(
            "marked",
            views[0].images,
            prompt(question, views[0]),
            captions[0],
            region=number,
            tags={"mark": kind},
            other=captions[1],
            meant=meant[0],
        )
        yield first
        yield replace(first, suite="removed", images=(bare,))
        yield replace(
            first,
            suite="moved",
            images=views[1].images,
            prompt=prompt(question, views[1]),
            answer=captions[1],
            other=captions[0],
            meant=meant[1],
        )
        number += 1
        if number == pictures:
            return


def _unmarked(picture: Image.Image, view: View) -> Image.Image:
    """The whole picture without any mark, at the size at which `view` shows it."""
    longest = max(picture.size)
    if longest <= view.max_side:
        return picture
    width, height = (max(1, round(side * view.max_side / longest)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _scenes(seed: int, combinations: str) -> Iterator[_Drawn]:
    """Painted scenes with at least one object to ask about, without end."""
    rng = np.random.default_rng(seed)
    while True:
        scene = sample_scene(rng, combinations=combinations)
        picture, labels = paint_labels(scene)
        seen = visible(scene, labels)
        if seen:
            regions = {i: drawn(rng, labels == i + 1, training=False) for i in seen}
            hidden = {i: _hidden(scene, labels, i) for i in seen}
            yield _Drawn(picture, scene.objects, regions, hidden)


def _hidden(scene: Scene, labels: NDArray[np.uint8], index: int) -> float:
    """The share of an object that others hide or the picture's edge cuts off."""
    thing = scene.objects[index]
    rings = outline(thing.shape, thing.width, thing.height, thing.angle)
    size = (int(1.6 * thing.width) + 4, int(1.6 * thing.height) + 4)
    alone = rasterise(rings, (size[0] / 2, size[1] / 2), size) >= 0.5
    return max(0.0, 1 - float((labels == index + 1).sum()) / max(1.0, float(alone.sum())))


def _tags(scene: _Drawn, index: int) -> dict[str, str]:
    hidden = scene.hidden[index]
    count = len(scene.objects)
    return {
        "size": scene.objects[index].size,
        "objects": "3 or fewer" if count <= 3 else "4 or 5" if count <= 5 else "6 or 7",
        "hidden": "under 2 %" if hidden < 0.02 else "2 to 10 %" if hidden < 0.1 else "over 10 %",
    }


def _alike(one: Object, other: Object) -> bool:
    return any(getattr(one, n) == getattr(other, n) for n in ("colour", "material", "shape"))


def _item(suite: str, shown: Rendered, turn: Turn, region: int, tags: Mapping[str, str]) -> Item:
    return Item(
        suite,
        shown.images,
        turn.prompt,
        turn.answer,
        turn.options,
        turn.kind,
        turn.attribute,
        region,
        tags,
    )
