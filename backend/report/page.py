"""What the report tells, asked of the store: outcomes over time, rounds, arms, calibration, examples, runs.

Reads only. Knows the tables; knows nothing of HTML or of Label Studio.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.jobs.agreement import FieldAgreement, agreements, answers_given
from backend.jobs.effect import Effect, compare_arms, measured
from backend.registry import Aliases, aliases, out_of_date
from backend.serving import served
from backend.settings import Settings
from backend.store import ModelVersionRow, OutcomeRow, RegistryEventRow, Store, SuggestionRow
from backend.store import queries as stored
from backend.store.registry_models import ShadowAnswerRow
from regiontext.metrics.calibration import Bin, ece, reliability

__all__ = ["Agreement", "Example", "Figures", "Period", "figures"]

_EXAMPLES = 24
_PERIODS = 40


@dataclass(frozen=True)
class Period:
    """One day or week: outcomes by kind, and by model version how many were suggested and how many of them accepted."""

    start: str
    outcomes: Mapping[str, int]
    versions: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Example:
    """One suggestion and what became of it."""

    suggestion: str
    task: int
    region: str
    field: str
    prompt: str
    suggested: str
    final: str
    outcome: str
    confidence: float | None
    model_version: str
    render_hash: str


@dataclass(frozen=True)
class Agreement:
    """How often a challenger that was asked unseen said what the champion said."""

    challenger: str
    asked: int
    agreed: int


@dataclass(frozen=True)
class Figures:
    """All of it. calibration: of suggestions with a confidence and an outcome; ece: its expected error, None for none.

    annotators: how far they agree about each field that several of them answered. waiting: webhooks not worked off. stale: tasks by project whose predictions are of other versions.
    """

    made: datetime
    model: str | None
    now: Aliases | None
    texts: int
    suggestions: int
    weekly: bool
    periods: tuple[Period, ...]
    versions: tuple[ModelVersionRow, ...]
    effect: Effect
    calibration: tuple[Bin, ...]
    ece: float | None
    examples: tuple[Example, ...]
    changes: tuple[RegistryEventRow, ...]
    agreement: tuple[Agreement, ...]
    annotators: tuple[FieldAgreement, ...]
    waiting: int
    stale: Mapping[int, int]


def figures(settings: Settings, store: Store, *, now: datetime | None = None) -> Figures:
    """Everything the report tells, as the store has it; a store without anything gives empty parts."""
    model = served(settings, store)
    effect = compare_arms(measured(store), samples=500)
    annotators = tuple(agreements(answers_given(store, shared=True)))
    with store.read() as session:
        weekly, periods = _periods(session)
        bins, error = _calibration(session)
        newest = select(ModelVersionRow).order_by(ModelVersionRow.created_at, ModelVersionRow.name)
        changes = select(RegistryEventRow).order_by(RegistryEventRow.id.desc()).limit(30)
        return Figures(
            made=now or datetime.now(UTC),
            model=model.model if model else None,
            now=aliases(session, model.base) if model else None,
            texts=stored.count(session, OutcomeRow, OutcomeRow.outcome != "discarded"),
            suggestions=stored.count(session, SuggestionRow),
            weekly=weekly,
            periods=periods,
            versions=tuple(session.scalars(newest)),
            effect=effect,
            calibration=bins,
            ece=error,
            examples=_examples(session),
            changes=tuple(session.scalars(changes)),
            agreement=_agreement(session),
            annotators=annotators,
            waiting=stored.count_open_events(session),
            stale=out_of_date(session, model.model) if model else {},
        )


def _periods(session: Session) -> tuple[bool, tuple[Period, ...]]:
    rows = session.execute(
        select(OutcomeRow.updated_at, OutcomeRow.outcome, OutcomeRow.model_version).order_by(
            OutcomeRow.updated_at
        )
    ).all()
    if not rows:
        return False, ()
    weekly = (rows[-1][0] - rows[0][0]) > timedelta(days=_PERIODS)
    outcomes: dict[str, Counter[str]] = {}
    versions: dict[str, dict[str, list[int]]] = {}
    for at, outcome, version in rows:
        day = at.date()
        start = (day - timedelta(days=day.weekday()) if weekly else day).isoformat()
        outcomes.setdefault(start, Counter())[outcome] += 1
        if version is not None and outcome in ("accepted", "edited", "cleared"):
            seen = versions.setdefault(start, {}).setdefault(version, [0, 0])
            seen[0] += 1
            seen[1] += outcome == "accepted"
    found = [
        Period(start, dict(counts), {v: (n[0], n[1]) for v, n in versions.get(start, {}).items()})
        for start, counts in outcomes.items()
    ]
    return weekly, tuple(found[-_PERIODS:])


def _calibration(session: Session) -> tuple[tuple[Bin, ...], float | None]:
    rows = session.execute(
        select(SuggestionRow.confidence, OutcomeRow.outcome)
        .join(OutcomeRow, OutcomeRow.suggestion == SuggestionRow.id)
        .where(
            SuggestionRow.confidence.is_not(None),
            OutcomeRow.outcome.in_(("accepted", "edited", "cleared")),
        )
    ).all()
    if not rows:
        return (), None
    given = [min(1.0, max(0.0, confidence or 0.0)) for confidence, _ in rows]
    right = [outcome == "accepted" for _, outcome in rows]
    return reliability(given, right), float(ece(given, right))


def _examples(session: Session) -> tuple[Example, ...]:
    """The latest of each outcome in turn, so that the accepted ones do not hide the others."""
    kinds = ("edited", "accepted", "cleared", "discarded")
    latest: list[Sequence[Any]] = [
        session.execute(
            select(SuggestionRow, OutcomeRow)
            .join(OutcomeRow, OutcomeRow.suggestion == SuggestionRow.id)
            .where(OutcomeRow.outcome == kind)
            .order_by(OutcomeRow.updated_at.desc(), SuggestionRow.id)
            .limit(_EXAMPLES)
        ).all()
        for kind in kinds
    ]
    mixed = [part[i] for i in range(_EXAMPLES) for part in latest if i < len(part)]
    return tuple(
        Example(
            suggestion=suggestion.id,
            task=suggestion.task,
            region=outcome.region,
            field=outcome.field,
            prompt=suggestion.prompt,
            suggested=" ".join(map(str, outcome.suggested)),
            final=" ".join(map(str, outcome.final)),
            outcome=outcome.outcome,
            confidence=suggestion.confidence,
            model_version=suggestion.model_version,
            render_hash=suggestion.render_hash,
        )
        for suggestion, outcome in mixed[:_EXAMPLES]
    )


def _agreement(session: Session) -> tuple[Agreement, ...]:
    rows = session.execute(
        select(ShadowAnswerRow.challenger, ShadowAnswerRow.agrees, func.count())
        .group_by(ShadowAnswerRow.challenger, ShadowAnswerRow.agrees)
        .order_by(ShadowAnswerRow.challenger)
    ).all()
    asked: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    for challenger, agrees, number in rows:
        asked[challenger] += number
        agreed[challenger] += number if agrees else 0
    return tuple(Agreement(name, asked[name], agreed[name]) for name in asked)
