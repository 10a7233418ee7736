"""Where a text, a region, a run or a version comes from: the whole chain, from the image to the model that is served.

image → region → render → question → model, adapter, decoding → suggestion → outcome → record → run → version. Reads the
store and the runs' folders; asks nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from backend.errors import BackendError
from backend.jobs.outcomes import pair_ends
from backend.registry import aliases
from backend.store import (
    AnnotationRow,
    ImageRow,
    ModelVersionRow,
    OutcomeRow,
    RegistryEventRow,
    Store,
    SuggestionRow,
)
from regiontext.labelstudio.results import read_results
from regiontext.marks.view import View
from regiontext.records.record import record_id

__all__ = ["Chain", "Link", "NothingFound", "explain"]

_MOST = 20


class NothingFound(BackendError):
    """No region, suggestion, record, run or version has this id; seen by whoever asked (CLI)."""


@dataclass(frozen=True)
class Link:
    """One step of the chain: what it is, its id, and what there is to say, one line each."""

    kind: str
    id: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chain:
    """The steps in order. suggestion: the id by which the picture can be drawn again, None if nothing was suggested."""

    links: tuple[Link, ...]
    suggestion: str | None = None
    notes: tuple[str, ...] = field(default=())


def explain(store: Store, id: str) -> list[Chain]:
    """The chains of an id, the latest first and at most twenty.

    `id` is that of a region, a suggestion, a record ("annotation-region-field"), a run (number or folder), a version
    ("base:0001") or an image (its hash). Raises NothingFound.
    """
    with store.read() as session:
        version = _version(session, id)
        if version is not None:
            return [Chain(tuple(_version_links(session, version)))]
        chains = [_chain(session, s, o) for s, o in _pairs(session, id)]
    if not chains:
        raise NothingFound(
            f"nothing has the id {id!r}: give a region's, suggestion's or record's id, an image's hash, a run's number "
            "(regiontext versions lists them) or a version's name"
        )
    return chains


def _version(session: Session, id: str) -> ModelVersionRow | None:
    row = session.get(ModelVersionRow, id)
    if row is not None:
        return row
    run = Path(id).name
    # "mini@0001+r1a2b3c4+q5d6e7f8" is what Label Studio shows of the adapter "mini:0001".
    base, _, rest = id.partition("@")
    shown = f"{base}:{rest.partition('+')[0]}" if rest else ""
    rows = session.scalars(
        select(ModelVersionRow).order_by(ModelVersionRow.created_at.desc())
    ).all()
    for row in rows:
        if row.name == shown or (run.isdigit() and row.name.rpartition(":")[2] == run.zfill(4)):
            return row
    return None


def _pairs(session: Session, id: str) -> list[tuple[SuggestionRow | None, OutcomeRow | None]]:
    """The suggestions and outcomes that an id stands for, each suggestion with its outcome if there is one."""
    outcomes = list(
        session.scalars(
            select(OutcomeRow)
            .where(
                or_(
                    OutcomeRow.region == id,
                    OutcomeRow.suggestion == id,
                    OutcomeRow.image_hash == id,
                )
            )
            .order_by(OutcomeRow.updated_at.desc())
            .limit(_MOST)
        )
    )
    annotation, dash, _ = id.partition("-")
    if not outcomes and dash and annotation.isdigit():
        of_one = select(OutcomeRow).where(OutcomeRow.annotation == int(annotation))
        outcomes = [row for row in session.scalars(of_one) if _record(session, row) == id]
    pairs: list[tuple[SuggestionRow | None, OutcomeRow | None]] = [
        (session.get(SuggestionRow, row.suggestion) if row.suggestion else None, row)
        for row in outcomes
    ]
    told = {row.suggestion for row in outcomes}
    suggestions = session.scalars(
        select(SuggestionRow)
        .where(
            or_(SuggestionRow.id == id, SuggestionRow.region == id, SuggestionRow.image_hash == id)
        )
        .order_by(SuggestionRow.created_at.desc())
        .limit(_MOST)
    )
    pairs += [(row, None) for row in suggestions if row.id not in told]
    return pairs[:_MOST]


def _record(session: Session, row: OutcomeRow) -> str:
    """The id of the record that an outcome is."""
    annotation = session.get(AnnotationRow, row.annotation)
    shapes = read_results(annotation.result).shapes if annotation else {}
    return record_id(row.annotation, pair_ends(row.region, shapes) or (row.region,), row.field)


def _chain(session: Session, suggestion: SuggestionRow | None, outcome: OutcomeRow | None) -> Chain:
    links: list[Link] = []
    digest = suggestion.image_hash if suggestion else outcome.image_hash if outcome else None
    links.append(_image(session, digest))
    links.append(_region(session, suggestion, outcome))
    if suggestion is not None:
        links += _asked(suggestion)
    if outcome is not None:
        links.append(_outcome(outcome))
        links += _learnt(session, outcome)
    return Chain(tuple(links), suggestion.id if suggestion else None)


def _image(session: Session, digest: str | None) -> Link:
    row = session.get(ImageRow, digest) if digest else None
    if row is None:
        return Link("image", digest or "unknown", ("it was never seen by this backend",))
    return Link(
        "image",
        row.hash,
        (
            f"{row.width} x {row.height} pixels, task {row.task} of project {row.project}",
            f"arm {row.arm}, since {row.first_seen:%Y-%m-%d %H:%M} UTC",
        ),
    )


def _region(session: Session, suggestion: SuggestionRow | None, outcome: OutcomeRow | None) -> Link:
    region = outcome.region if outcome else suggestion.region if suggestion else ""
    lines = []
    if suggestion is not None and suggestion.region_to is not None:
        lines.append(f"the pair {suggestion.region} → {suggestion.region_to}")
    if outcome is not None and outcome.labels:
        lines.append(f"labels {', '.join(map(str, outcome.labels))}")
    row = session.get(AnnotationRow, outcome.annotation) if outcome else None
    shape: Any = read_results(row.result).shapes.get(region) if row else None
    if shape is not None:
        value = shape.get("value") or {}
        place = {k: v for k, v in value.items() if k in ("x", "y", "width", "height", "rotation")}
        lines.append(f"{shape.get('type')} {json.dumps(place)} (percent)")
    return Link("region", region, tuple(lines))


def _asked(row: SuggestionRow) -> Iterator[Link]:
    view = View.from_dict(row.view)
    yield Link("render", row.render_hash, (f"view {view.hash}",))
    wording = [f"wording: {row.question}", *row.prompt.splitlines()]
    if row.options:
        wording.append(f"options: {', '.join(map(str, row.options))}")
    yield Link(f"question, field {row.field}", row.question_hash, tuple(wording))
    yield Link(
        "model",
        row.model,
        (f"version {row.model_version}", f"decoding {json.dumps(row.decoding, sort_keys=True)}"),
    )
    sure = f"confidence {row.confidence:.3f}" if row.confidence is not None else "no confidence"
    yield Link(
        "suggestion",
        row.id,
        (
            f"“{' '.join(map(str, row.value))}”",
            f"{sure}, {row.path}, {row.created_at:%Y-%m-%d %H:%M:%S} UTC",
        ),
    )


def _outcome(row: OutcomeRow) -> Link:
    return Link(
        "outcome",
        row.outcome,
        (
            f"“{' '.join(map(str, row.final))}”",
            f"annotation {row.annotation} by {row.annotator}, arm {row.arm}, "
            f"{row.updated_at:%Y-%m-%d %H:%M} UTC",
        ),
    )


def _learnt(session: Session, outcome: OutcomeRow) -> Iterator[Link]:
    name = _record(session, outcome)
    runs = []
    for version in session.scalars(select(ModelVersionRow).order_by(ModelVersionRow.created_at)):
        for what in _uses(version, name):
            runs.append((version, what))
    yield Link("record", name, () if runs else ("no run has used it",))
    for version, what in runs:
        yield from _version_links(session, version, what)


def _uses(version: ModelVersionRow, record: str) -> list[str]:
    """What a run did with a record, from the files of its folder."""
    if version.run_dir is None:
        return []
    folder = Path(version.run_dir)
    quoted = json.dumps(record, ensure_ascii=False)
    # Each way that a record was shown in training has its number behind the record's id.
    needles = (quoted, f"{quoted[:-1]}#")
    found = []
    for what, files in (
        ("learnt from it", sorted((folder / "data").glob("*.jsonl"))),
        ("was judged by it", [folder / "answers.jsonl"]),
    ):
        if any(_holds(path, needles) for path in files):
            found.append(what)
    return found


def _holds(path: Path, needles: Sequence[str]) -> bool:
    try:
        with path.open(encoding="utf-8") as lines:
            return any(needle in line for line in lines for needle in needles)
    except OSError:
        return False


def _version_links(
    session: Session, row: ModelVersionRow, what: str | None = None
) -> Sequence[Link]:
    told = row.metrics
    lines = [what] if what else []
    counts = told.get("counts")
    if isinstance(counts, dict):
        for name in ("training", "judging"):
            part = counts.get(name)
            if isinstance(part, dict) and "records" in part:
                lines.append(
                    f"{name}: {part['records']} records of {part.get('images', '?')} images"
                )
    if row.run_dir:
        lines.append(f"folder {row.run_dir}")
    run = Link("run", row.name.rpartition(":")[2], tuple(lines))
    now = aliases(session, row.base)
    names = {now.champion: "champion", now.previous: "previous", now.challenger: "challenger"}
    state = [f"{row.status}{f', {names[row.name]}' if row.name in names else ''} on {row.base}"]
    if told.get("reason"):
        state.append(str(told["reason"]))
    files = told.get("files")
    for name, digest in sorted(files.items()) if isinstance(files, dict) else ():
        state.append(f"{name} {digest}")
    for event in session.scalars(
        select(RegistryEventRow)
        .where(or_(RegistryEventRow.name == row.name, RegistryEventRow.before == row.name))
        .order_by(RegistryEventRow.id)
    ):
        state.append(
            f"{event.at:%Y-%m-%d %H:%M} UTC {event.action}: {event.before or row.base} → "
            f"{event.name or row.base}"
        )
    return run, Link("version", row.name, tuple(state))
