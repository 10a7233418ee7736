"""Draws an image into its arm: once, before anything is suggested about it, and the same wherever it is seen first.

Knows the settings and the store; knows nothing of who looks at the image, or why.
"""

from __future__ import annotations

from backend.settings import Settings
from backend.store import ImageRow, Store
from backend.store import queries as stored
from regiontext.records.arm import arm_of

__all__ = ["draw_into_arm"]


def draw_into_arm(
    settings: Settings,
    store: Store,
    digest: str,
    size: tuple[int, int],
    *,
    project: int | None,
    task: int | None,
) -> ImageRow:
    """The row of the image of this hash and size (W, H), with the arm that holds from now on.

    See `queries.record_image` for what becomes of an image that is known. Writes only if there is something to write.
    """
    arm = arm_of(digest, holdout=settings.holdout, control=settings.control, salt=settings.arm_salt)
    with store.read() as session:
        known = session.get(ImageRow, digest)
        if known is not None and known.arm in (arm, "assist"):
            return known
    width, height = size
    row = ImageRow(hash=digest, task=task, project=project, width=width, height=height, arm=arm)
    with store.begin() as session:
        return stored.record_image(session, row)
