"""What pre-filling does to the people it is meant to help: assist against control.

Images were drawn into the arms by their hash before anything was suggested, so what differs between the arms comes
from pre-filling (and luck, which the intervals tell). `compare_arms` is pure; `measured` reads the store. Knows nothing
of models or of pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select

from backend.store import AnnotationRow, OutcomeRow, Store
from regiontext.metrics.two_samples import Average, Gap, average, gap
from regiontext.records.arm import ARMS

__all__ = ["ArmFigures", "Effect", "Measured", "OverReliance", "compare_arms", "measured"]


@dataclass(frozen=True)
class Measured:
    """One outcome, as far as the comparison goes; fields as in `OutcomeRow`."""

    arm: str
    outcome: str
    annotation: int
    region: str
    image_hash: str | None
    closed: bool
    edit_chars: int | None
    edit_share: float | None
    meaning_changed: bool | None
    seconds: float | None
    trap: bool = False


@dataclass(frozen=True)
class ArmFigures:
    """One arm. Each figure is None while nothing tells it.

    annotations, regions, fields: how many there are. outcomes: fields by outcome. seconds: median time per region of
    annotations whose time is known. edit_chars: mean characters per open field that had to be changed to come to the
    final text: from the suggestion, or from nothing where none was shown. edit_share: the same as a share of the
    longer text. untouched: share of suggested fields left as they were.
    """

    arm: str
    annotations: int
    regions: int
    fields: int
    outcomes: Mapping[str, int]
    seconds: Average | None
    edit_chars: Average | None
    edit_share: Average | None
    untouched: Average | None


@dataclass(frozen=True)
class OverReliance:
    """Suggestions that were wrong on purpose: how many were seen, how many left standing, and the share of those.

    standing: (annotation, region) of those that still stand, so that they can be corrected.
    """

    traps: int
    accepted: int
    share: Average | None
    standing: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Effect:
    """The arms side by side, and assist less control where both are known: seconds per region (medians) and characters
    per open field (means). Negative is time or typing saved."""

    arms: tuple[ArmFigures, ...]
    seconds: Gap | None
    edit_chars: Gap | None
    over_reliance: OverReliance

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return asdict(self)


def measured(store: Store, project: int | None = None) -> list[Measured]:
    """The outcomes of a project (of all, if None) in a stable order, without those of deleted annotations."""
    query = (
        select(OutcomeRow)
        .join(AnnotationRow, AnnotationRow.id == OutcomeRow.annotation)
        .where(AnnotationRow.deleted.is_(False))
        .order_by(OutcomeRow.annotation, OutcomeRow.region, OutcomeRow.field)
    )
    if project is not None:
        query = query.where(OutcomeRow.project == project)
    with store.read() as session:
        return [
            Measured(
                arm=row.arm,
                outcome=row.outcome,
                annotation=row.annotation,
                region=row.region,
                image_hash=row.image_hash,
                closed=bool(row.options),
                edit_chars=row.edit_chars,
                edit_share=row.edit_share,
                meaning_changed=row.meaning_changed,
                seconds=row.seconds,
                trap=row.trap,
            )
            for row in session.scalars(query)
        ]


def compare_arms(outcomes: Iterable[Measured], *, samples: int = 2_000, seed: int = 0) -> Effect:
    """The figures of each arm and what separates assist from control.

    Intervals are of 95 %, from resampling whole images. Traps are left out of all figures but over-reliance: what
    people do with a suggestion that is wrong on purpose says nothing about the model's.
    """
    every = list(outcomes)
    honest = [item for item in every if not item.trap]
    by_arm: dict[str, list[Measured]] = {
        arm: [item for item in honest if item.arm == arm] for arm in ARMS
    }
    times = {arm: _times(items) for arm, items in by_arm.items()}
    typed = {arm: _typed(items) for arm, items in by_arm.items()}

    def told(arm: str) -> ArmFigures:
        items = by_arm[arm]
        suggested = [item for item in items if item.outcome not in ("added", "discarded")]
        return ArmFigures(
            arm=arm,
            annotations=len({item.annotation for item in items}),
            regions=len({(item.annotation, item.region) for item in items}),
            fields=len(items),
            outcomes=dict(sorted(Counter(item.outcome for item in items).items())),
            seconds=average(
                [float(item.seconds or 0) for item in times[arm]],
                groups=_images(times[arm]),
                statistic="median",
                samples=samples,
                seed=seed,
            ),
            edit_chars=_mean(typed[arm], "edit_chars", samples, seed),
            edit_share=_mean(typed[arm], "edit_share", samples, seed),
            untouched=average(
                [float(item.outcome == "accepted") for item in suggested],
                groups=_images(suggested),
                samples=samples,
                seed=seed,
            ),
        )

    return Effect(
        arms=tuple(told(arm) for arm in ARMS),
        seconds=gap(
            [float(item.seconds or 0) for item in times["assist"]],
            [float(item.seconds or 0) for item in times["control"]],
            one_groups=_images(times["assist"]),
            other_groups=_images(times["control"]),
            statistic="median",
            samples=samples,
            seed=seed,
        ),
        edit_chars=gap(
            [float(item.edit_chars or 0) for item in typed["assist"]],
            [float(item.edit_chars or 0) for item in typed["control"]],
            one_groups=_images(typed["assist"]),
            other_groups=_images(typed["control"]),
            samples=samples,
            seed=seed,
        ),
        over_reliance=_over_reliance([item for item in every if item.trap], samples, seed),
    )


def _times(items: Sequence[Measured]) -> list[Measured]:
    """One outcome per region whose time is known: all fields of a region tell the same time."""
    found: dict[tuple[int, str], Measured] = {}
    for item in items:
        if item.seconds is not None:
            found.setdefault((item.annotation, item.region), item)
    return list(found.values())


def _typed(items: Sequence[Measured]) -> list[Measured]:
    """The open fields that were left with a text, measured: what was cleared or discarded has no final text."""
    final = ("accepted", "edited", "added")
    return [
        item
        for item in items
        if not item.closed and item.edit_chars is not None and item.outcome in final
    ]


def _mean(items: Sequence[Measured], name: str, samples: int, seed: int) -> Average | None:
    values = [float(getattr(item, name)) for item in items]
    return average(values, groups=_images(items), samples=samples, seed=seed)


def _images(items: Sequence[Measured]) -> list[str]:
    return [item.image_hash or str(item.annotation) for item in items]


def _over_reliance(traps: Sequence[Measured], samples: int, seed: int) -> OverReliance:
    seen = [trap for trap in traps if trap.outcome != "discarded"]
    accepted = [float(trap.outcome == "accepted") for trap in seen]
    share = average(accepted, groups=_images(seen), samples=samples, seed=seed)
    left = tuple((trap.annotation, trap.region) for trap in seen if trap.outcome == "accepted")
    return OverReliance(len(seen), len(left), share, left)
