"""Writes what people corrected as a dataset: marked images, conversations, and where every text comes from.

The holdout arm is never exported. Knows the order of things; the files' formats are `regiontext.records.formats`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backend.assistant import current_model
from backend.jobs.collect import collect
from backend.jobs.errors import JobError, NoSuchProject, NotEnough
from backend.jobs.opening import workplace
from backend.jobs.pictures import pictures
from backend.jobs.progress import Notify, Progress, quiet
from backend.jobs.records import LEARNT_FROM, load_records, project_numbers
from backend.jobs.showing import show
from backend.jobs.studio import Studio
from backend.settings import Settings
from backend.store import Store
from regiontext.errors import RegiontextError
from regiontext.labelstudio.config import LabelingConfig, parse_config
from regiontext.records.arm import Arm
from regiontext.records.formats.llava import llava_writer
from regiontext.records.manifest import has_manifest, write_manifest
from regiontext.records.splits import split_of
from regiontext.records.staging import staged_folder

__all__ = ["FORMATS", "Exported", "collect_from", "configs_of", "export"]

FORMATS = ("llava",)


@dataclass
class Exported:
    """What an export holds. counts: as in its manifest. errors: one line per record or image that was left out."""

    out: Path
    records: int = 0
    images: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


async def export(
    settings: Settings,
    project: int | None,
    out: Path,
    fmt: str = "llava",
    progress: Notify = quiet,
    *,
    arms: Sequence[Arm] = LEARNT_FROM,
    store: Store | None = None,
) -> Exported:
    """Write the records of a project (of all projects, if None) into the folder `out`.

    The newest annotations are collected first. Images are shown as the model that is served now is asked about them.
    The folder is written beside its place and renamed; an existing one is replaced only if it is empty or an export.

    Raises JobError for an unknown format or if holdout is asked for, NotEnough if nobody corrected anything yet,
    RecordError if `out` is something else, LabelStudioError and ModelUnavailable if either does not answer.
    """
    if fmt not in FORMATS:
        raise JobError(f"unknown export format {fmt!r}; known are {', '.join(FORMATS)}")
    if "holdout" in arms:
        raise JobError("holdout images are kept for measuring and are never exported")
    found = Exported(out)
    with staged_folder(out, replaceable=has_manifest) as folder:
        async with workplace(settings, store) as (assistant, studio):
            projects, problems = await collect_from(settings, project, progress, assistant.store)
            found.errors += problems
            records = await asyncio.to_thread(load_records, assistant.store, project, arms=arms)
            records = [record for record in records if record.project in projects]
            if not records:
                raise NotEnough(
                    "there is nothing to export: no text was submitted in Label Studio yet"
                )
            configs = await configs_of(studio, projects)
            model = await current_model(assistant)
            counts: dict[str, Counter[str]] = {
                name: Counter() for name in ("fields", "outcomes", "arms", "splits", "projects")
            }
            hashes = set()
            done = 0

            def problem(line: str) -> None:
                found.errors.append(line)
                progress(Progress(done, len(records), "writing records", line))

            with llava_writer(folder) as add:
                async for image, group in pictures(
                    studio, assistant.images, configs, records, problem=problem
                ):
                    for record in group:
                        try:
                            shown = await asyncio.to_thread(show, record, image, model.view)
                        except RegiontextError as fault:
                            problem(f"record {record.id}: {fault}")
                            continue
                        add(record, shown.rendered, shown.prompt)
                        hashes.add(record.image_hash)
                        counts["fields"][record.field] += 1
                        counts["outcomes"][record.outcome] += 1
                        counts["arms"][record.arm] += 1
                        counts["splits"][split_of(record.image_hash)] += 1
                        counts["projects"][str(record.project)] += 1
                        done += 1
                    progress(Progress(done, len(records), "writing records"))
        if not done:
            raise JobError(f"nothing could be exported: {found.errors[-1]}")
        found.records, found.images = done, len(hashes)
        found.counts = {name: dict(sorted(count.items())) for name, count in counts.items()}
        hashes_of_configs = {str(number): config.hash for number, config in configs.items()}
        await asyncio.to_thread(
            write_manifest,
            folder,
            counts={"records": done, "images": len(hashes), **found.counts},
            filters={"project": project, "arms": list(arms), "outcomes": "accepted, edited, added"},
            config_hash=hashes_of_configs[str(project)] if project is not None else None,
            extra={
                "kind": "export",
                "export_format": fmt,
                "model": model.model,
                "view": model.view.to_dict(),
                "config_hashes": hashes_of_configs,
                "left_out": found.errors,
            },
        )
    return found


async def collect_from(
    settings: Settings, project: int | None, progress: Notify, store: Store
) -> tuple[list[int], list[str]]:
    """Collect a project, or all that were ever collected: which those are, and what went wrong, one line each.

    Of all, those that were deleted in Label Studio are left out: their images are gone.
    """
    there, problems = [], []
    for number in [project] if project is not None else project_numbers(store):
        try:
            problems += (await collect(settings, number, progress, store=store)).errors
        except NoSuchProject:
            if project is not None:
                raise
            problems.append(f"project {number} is gone from Label Studio: its records are left out")
            continue
        there.append(number)
    return there, problems


async def configs_of(studio: Studio, projects: Sequence[int]) -> dict[int, LabelingConfig]:
    """The labeling configs of projects, by number."""
    return {number: parse_config((await studio.project(number)).config) for number in projects}
