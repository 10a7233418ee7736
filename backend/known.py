"""What Label Studio already holds of a task: the annotator's draft, annotations, predictions.

An interactive request tells neither who asks nor what is on the screen. The draft of the asking user comes with it, at
most some five seconds old; without one, the screen shows the annotation being edited, or a copy of a prediction. Knows
the JSON of a task; knows nothing of images, models or the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from regiontext.labelstudio.decode import SHAPE_TYPES, is_shape
from regiontext.labelstudio.leaks import is_bare, without_leaks
from regiontext.labelstudio.results import Result, Results, read_results, text_of

__all__ = [
    "NOTE",
    "SEEN",
    "Draft",
    "Known",
    "bundle",
    "is_marked",
    "is_unfinished",
    "known_of",
    "marked",
    "results_in",
    "text_in",
    "without",
]

SEEN = "regiontext_seen"
"""Key in a shape's meta: it went through an answer of ours. Label Studio keeps it when the answer is accepted."""

NOTE = "regiontext: "
"""How a note of ours to the annotator begins, in a shape's meta.text."""


@dataclass(frozen=True)
class Draft:
    """The last saved draft of the asking user. saved_at: by Label Studio's clock, in seconds since 1970."""

    version: str
    saved_at: float | None
    owner: str | None


@dataclass(frozen=True)
class Known:
    """results: what is on the annotator's screen as far as Label Studio knows. draft: None without one.

    saved_at: when an annotation of the task was last saved, None without any. annotators: who has annotated it. drafts:
    how many drafts the asking user has: a tab of the browser each. relabels: whether the page gives one label to all
    that it accepts, since a text about the whole image has it. unfinished: the polygons that were being drawn when the
    draft was saved, which are not among the results: the page has them with more corners by now, or not at all.
    """

    results: Results
    draft: Draft | None
    saved_at: float | None
    raw: tuple[Result, ...] = ()
    annotators: frozenset[str] = frozenset()
    drafts: int = 0
    relabels: bool = False
    unfinished: tuple[Result, ...] = ()

    @property
    def may_be_anothers(self) -> bool:
        """Whether the results may be another annotator's: no draft says otherwise, and somebody has submitted."""
        return self.draft is None and self.saved_at is not None


def known_of(task: Mapping[str, Any]) -> Known:
    """Read a task as it comes with a /predict call; whatever is malformed counts as absent."""
    drafts = sorted(_objects(task.get("drafts")), key=_updated)
    annotations = [a for a in _objects(task.get("annotations")) if not a.get("was_cancelled")]
    predictions = sorted(_objects(task.get("predictions")), key=_updated)
    draft = None
    if drafts:
        newest = drafts[-1]
        owner = newest.get("user")
        draft = Draft(
            version=f"{newest.get('id')} {newest.get('updated_at')}",
            saved_at=_seconds(newest.get("updated_at")),
            owner=owner if isinstance(owner, str) else None,
        )
        open_one: Mapping[str, Any] = newest
    elif len(annotations) == 1:
        open_one = annotations[0]
    elif not annotations and predictions:
        open_one = predictions[-1]
    else:
        # Of several annotations nobody can tell which one is open.
        open_one = {}
    raw = results_in(open_one)
    unfinished = tuple(item for item in raw if is_unfinished(item)) if draft else ()
    raw = without(raw, unfinished)
    saved = [s for a in annotations if (s := _seconds(a.get("updated_at"))) is not None]
    by = frozenset(name for a in annotations if (name := _author(a)) is not None)
    return Known(
        results=read_results(raw),
        draft=draft,
        saved_at=max(saved, default=None),
        raw=tuple(raw),
        annotators=by,
        drafts=len(drafts),
        relabels=any(is_bare(item) for item in _objects(open_one.get("result"))),
        unfinished=unfinished,
    )


def is_unfinished(item: Mapping[str, Any]) -> bool:
    """Whether a result is a polygon that is not closed yet; such a one can be saved in a draft, not submitted."""
    value = item.get("value")
    is_polygon = SHAPE_TYPES.get(str(item.get("type"))) == "polygon"
    return is_polygon and isinstance(value, Mapping) and value.get("closed") is False


def without(results: Sequence[Result], shapes: Sequence[Result]) -> list[Result]:
    """The results without those shapes and their fields."""
    gone = [shape.get("id") for shape in shapes]
    return [item for item in results if item.get("id") not in gone]


def results_in(holder: Mapping[str, Any]) -> list[Result]:
    """The results of an annotation, draft or prediction, without what is no object and without leaked labels."""
    return without_leaks(_objects(holder.get("result")))


def bundle(results: Sequence[Mapping[str, Any]], region_id: str) -> list[Result]:
    """Every result of one region, the shape first (Label Studio reads a region's own facts off the first)."""
    mine = [dict(item) for item in results if item.get("id") == region_id]
    return sorted(mine, key=lambda item: not is_shape(item))


def marked(shape: Mapping[str, Any], note: str | None = None) -> Result:
    """The shape as it is answered: marked as seen, with our note (or without our old one), all else as it was."""
    meta = dict(shape["meta"]) if isinstance(shape.get("meta"), Mapping) else {}
    text = meta.pop("text", None)
    lines = [text] if isinstance(text, str) else list(text) if isinstance(text, list) else []
    lines = [line for line in lines if not (isinstance(line, str) and line.startswith(NOTE))]
    if note is not None:
        lines.append(NOTE + note)
    if lines:
        meta["text"] = lines
    meta[SEEN] = 1
    return dict(shape) | {"meta": meta}


def is_marked(shape: Mapping[str, Any]) -> bool:
    """Whether a shape has gone through an answer of ours that was accepted."""
    meta = shape.get("meta")
    return isinstance(meta, Mapping) and SEEN in meta


def text_in(result: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The texts or choices of a field's result that are more than white space."""
    return tuple(t for t in text_of(result) if t.strip()) if result is not None else ()


def _author(annotation: Mapping[str, Any]) -> str | None:
    by = annotation.get("completed_by")
    by = by.get("id") if isinstance(by, Mapping) else by
    return str(by) if isinstance(by, int | str) else None


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        yield from (item for item in value if isinstance(item, Mapping))


def _updated(holder: Mapping[str, Any]) -> tuple[float, int]:
    number = holder.get("id")
    when = _seconds(holder.get("updated_at") or holder.get("created_at")) or 0.0
    return when, number if isinstance(number, int) else 0


def _seconds(value: object) -> float | None:
    """Seconds since 1970 of an ISO time; without a zone it is UTC."""
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
