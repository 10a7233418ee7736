"""Which split each image belongs to, kept in the store so that it never changes.

The rule is `regiontext.records.splits`; this keeps what it decided. Knows nothing of records.
"""

from __future__ import annotations

from PIL import Image
from sqlalchemy import select

from backend.store import ImageClusterRow, Store
from regiontext.records.duplicates import perceptual_hash
from regiontext.records.splits import Clusters, Placed

__all__ = ["Places"]


class Places:
    """The images that were placed, and those to come. One writer at a time: hold a lock."""

    def __init__(self, store: Store) -> None:
        """Read what was placed; blocks."""
        self._store = store
        query = select(ImageClusterRow).order_by(ImageClusterRow.number)
        with store.read() as session:
            rows = session.scalars(query).all()
            self._clusters = Clusters(
                Placed(row.hash, row.perceptual, row.cluster, tuple(row.beside)) for row in rows
            )
            self._next = rows[-1].number + 1 if rows else 1

    def get(self, image: str) -> Placed | None:
        """Where an image is, by its hash; None if it was not placed yet."""
        return self._clusters.get(image)

    def place(self, image: str, pixels: Image.Image) -> Placed:
        """Place an image, by its hash and upright pixels; blocks, and is kept when it returns."""
        known = self._clusters.get(image)
        if known is not None:
            return known
        placed = self._clusters.place(image, perceptual_hash(pixels))
        with self._store.begin() as session:
            session.add(
                ImageClusterRow(
                    hash=image,
                    number=self._next,
                    perceptual=placed.perceptual,
                    cluster=placed.cluster,
                    beside=list(placed.beside),
                )
            )
        self._next += 1
        return placed
