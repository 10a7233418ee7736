"""What the model saw, drawn again: the image of a suggestion with its marks, kept as a small PNG in the data folder.

The drawing is compared with the hash that was written down when the model was asked, so that a picture that is not the
same to the pixel is never passed off as it. Knows Label Studio and the disk; knows no HTML.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from backend.errors import BackendError, ImageFetchError
from backend.images import Images
from backend.jobs.studio import Studio
from backend.label_studio import image_url
from backend.settings import Settings
from backend.store import AnnotationRow, Store, SuggestionRow
from regiontext.errors import RegiontextError
from regiontext.images import image_hash, load_image
from regiontext.labelstudio.config import LabelingConfig, parse_config
from regiontext.labelstudio.results import decode_regions
from regiontext.marks.side_by_side import side_by_side
from regiontext.marks.view import Rendered, View, render

__all__ = ["Seen", "draw_again", "kept", "seen_folder"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """The picture of a suggestion. exact: what the model was shown, to the pixel; else `why` says what differs."""

    path: Path
    exact: bool
    why: str = ""


def seen_folder(settings: Settings) -> Path:
    """Where the pictures are kept."""
    return settings.data_dir / "seen"


def kept(settings: Settings, suggestion: str) -> Seen | None:
    """The picture of a suggestion if it was drawn already."""
    path = seen_folder(settings) / f"{Path(suggestion).name}.png"
    about = path.with_suffix(".json")
    if not path.is_file() or not about.is_file():
        return None
    told = json.loads(about.read_text(encoding="utf-8"))
    return Seen(path, bool(told["exact"]), str(told["why"]))


async def draw_again(
    settings: Settings, store: Store, suggestions: Collection[str]
) -> dict[str, Seen]:
    """The pictures of suggestions, by id; those that cannot be drawn (gone, changed, no answer) are left out.

    What is kept already is not drawn again. Never raises for Label Studio: a report without pictures is one.
    """
    found = {id: one for id in suggestions if (one := kept(settings, id)) is not None}
    missing = [id for id in suggestions if id not in found]
    if not missing or settings.label_studio_api_key is None:
        return found
    rows, results = await asyncio.to_thread(_rows, store, missing)
    projects: dict[int, list[SuggestionRow]] = {}
    for row in rows:
        projects.setdefault(row.project, []).append(row)
    async with Studio(settings) as studio, Images(settings) as images:
        for project, group in projects.items():
            try:
                config = parse_config((await studio.project(project)).config)
                data = await studio.task_data(project, {row.task for row in group})
            except (BackendError, RegiontextError) as error:
                _log.warning("no pictures of project %s: %s", project, error)
                continue
            for row in group:
                try:
                    one = await _one(settings, images, row, config, data, results[row.task])
                except (BackendError, RegiontextError, OSError) as error:
                    _log.warning("no picture of suggestion %s: %s", row.id, error)
                    continue
                found[row.id] = one
    return found


def _rows(
    store: Store, suggestions: Collection[str]
) -> tuple[list[SuggestionRow], dict[int, list[dict[str, Any]]]]:
    """The suggestions, and by task all results known of it, the oldest annotation's first."""
    with store.read() as session:
        rows = list(session.scalars(select(SuggestionRow).where(SuggestionRow.id.in_(suggestions))))
        results: dict[int, list[dict[str, Any]]] = {row.task: [] for row in rows}
        annotations = (
            select(AnnotationRow)
            .where(AnnotationRow.task.in_(list(results)), AnnotationRow.deleted.is_(False))
            .order_by(AnnotationRow.id)
        )
        for annotation in session.scalars(annotations):
            results[annotation.task] += annotation.result
    return rows, results


async def _one(
    settings: Settings,
    images: Images,
    row: SuggestionRow,
    config: LabelingConfig,
    data: Mapping[int, Mapping[str, Any]],
    results: list[dict[str, Any]],
) -> Seen:
    if row.task not in data:
        raise ImageFetchError(f"task {row.task} is gone from Label Studio")
    shape = next((r for r in results if r.get("id") == row.region), {})
    place = int(shape.get("item_index") or 0)
    found = await images.fetch(image_url(data[row.task], config.image_key, place), task=row.task)
    return await asyncio.to_thread(_draw, settings, row, found, results, place)


def _draw(
    settings: Settings,
    row: SuggestionRow,
    data: bytes,
    results: Iterable[Mapping[str, Any]],
    place: int,
) -> Seen:
    image = load_image(data)
    here = [r for r in results if int(r.get("item_index") or 0) == place]
    regions, _ = decode_regions(here, size=image.size)
    ids = [row.region] if row.region_to is None else [row.region, row.region_to]
    if any(id not in regions for id in ids):
        raise ImageFetchError(f"region {row.region!r} of task {row.task} is not annotated any more")
    chosen = [regions[id] for id in ids]
    view = View.from_dict(row.view)
    rendered = None
    # What else was drawn when the model was asked decides the colours of marks; usually nothing, or all of it.
    for among in (chosen, list(regions.values())):
        rendered = render(image, chosen, view, among=among)
        if rendered.hash == row.render_hash:
            break
    assert rendered is not None
    exact = rendered.hash == row.render_hash
    if exact:
        why = ""
    elif image_hash(data) != row.image_hash:
        why = "the image is another one now"
    else:
        why = "the region, or what else was drawn, has changed since"
    return _keep(seen_folder(settings), row.id, rendered, exact=exact, why=why)


def _keep(folder: Path, id: str, rendered: Rendered, *, exact: bool, why: str) -> Seen:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{id}.png"
    half = path.with_suffix(f".{os.getpid()}.tmp")
    side_by_side(rendered.images).save(half, format="PNG", optimize=True)
    about = json.dumps({"exact": exact, "why": why, "render_hash": rendered.hash})
    path.with_suffix(".json").write_text(about, encoding="utf-8")
    half.replace(path)
    return Seen(path, exact, why)
