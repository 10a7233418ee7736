"""Which images a model may train on and which only judge it. Split by image and near-duplicate, never by region.

Two regions of one image share background, light and annotator; a split by region would leak them, and so would two
frames of one scene. An image's split never changes as data grows:

* Images are placed one after the other, and a placed image stays where it is. It joins the cluster of an image that it
  nearly duplicates, or begins one of its own; the split follows from the hash of the cluster's first image.
* Clusters never merge. An image that nearly duplicates images of several clusters belongs to the oldest of those; if
  their splits differ, it would leak one into the other, and is used in neither (`split_of_placed` is None).

Knows nothing of arms: a holdout image is never trained on whatever its split. Knows no pixels: see `duplicates`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from regiontext.errors import ConfigError
from regiontext.records.arm import unit_interval
from regiontext.records.duplicates import NearIndex

__all__ = ["SPLITS", "Clusters", "Placed", "Split", "split_of", "split_of_placed"]

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)


def split_of(image_hash: str, *, validation: float = 0.2) -> Split:
    """The split of an image, from its hash alone; `validation` is its share, in [0, 1).

    Independent of the arm (another salt), so every arm has the same share of validation images.
    """
    if not 0 <= validation < 1:
        raise ConfigError(f"the validation share {validation} is not in [0, 1)")
    return "validation" if unit_interval(image_hash, salt="split") < validation else "train"


@dataclass(frozen=True)
class Placed:
    """Where an image belongs. perceptual: its `perceptual_hash`. cluster: the hash of the first image of its cluster.
    beside: those of other clusters that it nearly duplicates, oldest first.
    """

    image: str
    perceptual: str
    cluster: str
    beside: tuple[str, ...] = ()


def split_of_placed(placed: Placed, *, validation: float = 0.2) -> Split | None:
    """The split of an image with its cluster; None where it lies between clusters of different splits."""
    own, *others = (
        split_of(cluster, validation=validation) for cluster in (placed.cluster, *placed.beside)
    )
    return own if all(other == own for other in others) else None


class Clusters:
    """The images placed so far, oldest first; places new ones."""

    def __init__(self, placed: Iterable[Placed] = ()) -> None:
        self._placed: dict[str, Placed] = {}
        self._order: list[Placed] = []
        self._age: dict[str, int] = {}
        self._index = NearIndex()
        for one in placed:
            self._keep(one)

    def get(self, image: str) -> Placed | None:
        """Where an image was placed; None if it never was."""
        return self._placed.get(image)

    def place(self, image: str, perceptual: str) -> Placed:
        """Place an image, by its hash and its `perceptual_hash`; a placed one stays where it is."""
        if image in self._placed:
            return self._placed[image]
        near = {self._order[number].cluster for number in self._index.near(perceptual)}
        oldest = sorted(near, key=self._age.__getitem__)
        placed = Placed(image, perceptual, oldest[0] if oldest else image, tuple(oldest[1:]))
        self._keep(placed)
        return placed

    def near(self, perceptual: str) -> list[str]:
        """The hashes of the placed images that an image nearly duplicates, oldest first."""
        return [self._order[number].image for number in self._index.near(perceptual)]

    def _keep(self, placed: Placed) -> None:
        self._placed[placed.image] = placed
        self._order.append(placed)
        self._age.setdefault(placed.cluster, len(self._age))
        self._index.add(placed.perceptual)
