"""Draws an image into its arm: once, before anything is suggested about it, and the same wherever it is seen first.

Also makes a suggestion a trap, where the settings ask for that. Knows the settings and the store; knows nothing of who
looks at the image, or why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.settings import Settings
from backend.store import ImageRow, Store
from backend.store import queries as stored
from regiontext.questions.question import Question
from regiontext.records.arm import arm_of
from regiontext.records.trap import is_trap, wrong_answer

__all__ = ["TRAP", "draw_into_arm", "trapped"]

TRAP = "trap"
"""Key in a suggestion's decoding that holds what the model really said, where something wrong was shown on purpose."""


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


def trapped(
    settings: Settings,
    digest: str,
    question: Question,
    told: Mapping[str, Any],
    *,
    heard: object | None = None,
) -> dict[str, Any]:
    """The columns of a suggestion as `told`, or with a value that is wrong on purpose.

    Only where the settings have a share of traps, never for relations, and only if a wrong answer can be made up. What
    the model said is then kept under TRAP in the decoding. An answer that somebody `heard` while it came cannot be
    taken back.
    """
    region, field = question.region_ids[0], question.field
    share = settings.trap_share
    salt = settings.arm_salt
    if heard is not None or question.pair:
        return dict(told)
    if not is_trap(digest, region, field, share=share, salt=salt):
        return dict(told)
    wrong = wrong_answer(told["value"], question.options, seed=salt)
    if wrong is None:
        return dict(told)
    decoding = {**told["decoding"], TRAP: list(told["value"])}
    return {**told, "value": list(wrong), "decoding": decoding}
