"""Writes what people corrected as a dataset: images, what is asked and answered, and where every text comes from.

The holdout arm is never exported, nor what nearly is one of its images. Records are written one by one into
`records.jsonl`, which an interrupted export and a later one take over what they can from; the format's files are then
made from it. Knows the order of things; the files are `regiontext.records`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from backend.assistant import current_model
from backend.errors import BackendError
from backend.jobs.agreement import one_per_thing, standing_in
from backend.jobs.collect import collect
from backend.jobs.errors import JobError, NoSuchProject, NotEnough
from backend.jobs.examples import IMAGES, MARKED, example_of, fingerprint
from backend.jobs.lock import exclusive
from backend.jobs.opening import workplace
from backend.jobs.pictures import Fetched, Fetcher, grouped
from backend.jobs.placing import Places
from backend.jobs.progress import Notify, Progress, quiet
from backend.jobs.records import (
    HELD_OUT,
    LEARNT_FROM,
    project_numbers,
    record_batches,
    record_tasks,
)
from backend.jobs.studio import Studio
from backend.settings import Settings
from backend.store import Store
from regiontext.errors import RecordError, RegiontextError
from regiontext.labelstudio.config import LabelingConfig, parse_config
from regiontext.marks.view import View
from regiontext.records.arm import Arm
from regiontext.records.card import Tally, write_card
from regiontext.records.dataset import write_dataset
from regiontext.records.duplicates import NearIndex
from regiontext.records.example import Example
from regiontext.records.formats.format import Format, Options
from regiontext.records.formats.registry import FORMATS as KNOWN
from regiontext.records.formats.registry import find_format
from regiontext.records.manifest import has_manifest, write_manifest
from regiontext.records.record import Record
from regiontext.records.spine import RECORDS_NAME, Done, Spine, read_records
from regiontext.records.splits import split_of_placed
from regiontext.records.staging import link_or_copy, resumable_folder

__all__ = ["FORMATS", "VALIDATION", "Exported", "collect_from", "configs_of", "export"]

FORMATS = tuple(KNOWN)

VALIDATION = 0.2
"""The share of images that is for validation, if nothing else is said."""

_EARLIER = ".earlier-{}.jsonl"


@dataclass
class Exported:
    """What an export holds. records: those in the format's files. reused: how many were taken over from an earlier one.

    counts: as in its manifest. errors: one line per record or image that was left out.
    """

    out: Path
    records: int = 0
    images: int = 0
    reused: int = 0
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
    coordinates: str | None = None,
    validation: float = VALIDATION,
    meaning_changed: Callable[[str, str], bool] | None = None,
) -> Exported:
    """Write the records of a project (of all projects, if None) into the folder `out`.

    The newest annotations are collected first. Images are shown as the model that is served now is asked about them.
    coordinates: see `Options`; validation: the share of images for validation; meaning_changed: for preference pairs.
    The folder is written beside its place and renamed; an existing one is replaced only if it is empty or an export. An
    interrupted export goes on where it was when it is started again.

    Raises JobError for an unknown format or if holdout is asked for, NotEnough if nobody corrected anything yet,
    RecordError if `out` is something else, LabelStudioError and ModelUnavailable if either does not answer.
    """
    options = Options(coordinates=coordinates, meaning_changed=meaning_changed)
    try:
        chosen = find_format(fmt, options)
    except RecordError as error:
        raise JobError(str(error)) from error
    if "holdout" in arms:
        raise JobError("holdout images are kept for measuring and are never exported")
    if not 0 <= validation < 1:
        raise JobError(f"the validation share {validation} is not in [0, 1)")

    def waiting(words: str) -> None:
        progress(Progress(0, None, words))

    async with exclusive(settings.data_dir / "locks", "export", waiting=waiting):
        with resumable_folder(out, replaceable=has_manifest, worth_keeping=_has_records) as folder:
            async with workplace(settings, store) as (assistant, studio):
                projects, problems = await collect_from(
                    settings, project, progress, assistant.store
                )
                configs = await configs_of(studio, projects)
                model = await current_model(assistant)
                tasks = await asyncio.to_thread(record_tasks, assistant.store, projects)
                run = _Run(
                    out=out,
                    folder=folder,
                    store=assistant.store,
                    fetcher=await Fetcher.of(studio, assistant.images, configs, tasks),
                    places=await asyncio.to_thread(Places, assistant.store),
                    configs=configs,
                    view=model.view,
                    fmt=chosen,
                    validation=validation,
                    tasks=len(tasks),
                    progress=progress,
                    found=Exported(out, errors=problems),
                )
                await run.write(arms)
            await asyncio.to_thread(run.finish, options, arms, project, model.model)
    return run.found


@dataclass(eq=False)
class _Run:
    """One export, from the first record to the manifest."""

    out: Path
    folder: Path
    store: Store
    fetcher: Fetcher
    places: Places
    configs: dict[int, LabelingConfig]
    view: View
    fmt: Format
    validation: float
    tasks: int
    progress: Notify
    found: Exported
    held: NearIndex = field(default_factory=NearIndex)
    done: int = 0

    async def write(self, arms: Collection[Arm]) -> None:
        """Write `records.jsonl` and the pictures."""
        earlier = await asyncio.to_thread(self._earlier)
        await self._look_at_held_out()
        with Spine(self.folder) as spine:
            seen: set[int] = set()
            stands = await asyncio.to_thread(standing_in, self.store)
            batches = record_batches(self.store, self.configs, arms=arms)
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                for group in grouped(one_per_thing(batch, stands)):
                    await self._group(group, spine, earlier)
                seen |= {record.task for record in batch}
                self._tell(len(seen), "writing records")
        if not self.done:
            if self.found.errors:
                raise JobError(f"nothing could be exported: {self.found.errors[-1]}")
            raise NotEnough("there is nothing to export: no text was submitted in Label Studio yet")

    def _earlier(self) -> Done:
        """What an interrupted export of this folder wrote, and the export that it replaces."""
        number = len(list(self.folder.glob(_EARLIER.format("*"))))
        with suppress(FileNotFoundError):
            (self.folder / RECORDS_NAME).rename(self.folder / _EARLIER.format(number))
        earlier = sorted(self.folder.glob(_EARLIER.format("*")))
        for path in self.folder.iterdir():
            if path.is_file() and path not in earlier:
                path.unlink()
        return Done(self.out / RECORDS_NAME, *earlier)

    async def _look_at_held_out(self) -> None:
        """Learn what the images look like that are kept for measuring, to keep their likes out of the dataset."""
        batches = record_batches(self.store, self.configs, arms=HELD_OUT)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            for group in grouped(batch):
                image = group[0].image_hash
                placed = self.places.get(image)
                if placed is None:
                    try:
                        fetched = await self.fetcher.fetch(group[0])
                    except (BackendError, RegiontextError):
                        continue  # Nothing can be measured on it either.
                    placed = await asyncio.to_thread(self.places.place, image, fetched.image)
                self.held.add(placed.perceptual)

    async def _group(self, group: list[Record], spine: Spine, earlier: Done) -> None:
        """The records of one image."""
        fetched: Fetched | None = None
        try:
            placed = self.places.get(group[0].image_hash)
            if placed is None:
                fetched = await self.fetcher.fetch(group[0])
                placed = await asyncio.to_thread(
                    self.places.place, group[0].image_hash, fetched.image
                )
            split = split_of_placed(placed, validation=self.validation)
            if self.held.near(placed.perceptual):
                split, why = None, "an image that is kept for measuring"
            else:
                why = "images of both splits"
            if split is None:
                self._problem(
                    f"task {group[0].task}: its image nearly is the same as {why}; {len(group)} records left out"
                )
                return
            for record in group:
                example = await asyncio.to_thread(self._again, record, earlier)
                if example is None:
                    fetched = fetched or await self.fetcher.fetch(record)
                    example = await self._made(record, fetched)
                else:
                    self.found.reused += 1
                if example is not None:
                    spine.add(replace(example, split=split))
                    self.done += 1
        except (BackendError, RegiontextError) as fault:
            self._problem(f"task {group[0].task}: {fault}; {len(group)} records left out")

    def _again(self, record: Record, earlier: Done) -> Example | None:
        """The record as it was written before, its pictures linked; None if it must be made."""
        found = earlier.find(record.id, fingerprint(record, self.view, self.fmt.pictures))
        if found is None:
            return None
        example, folder = found
        names = [*(example.marking.images if example.marking else ()), example.image.path]
        names = [name for name in names if name]
        if not all((folder / name).is_file() for name in names):
            return None
        for name in names:
            link_or_copy(folder / name, self.folder / name)
        return example

    async def _made(self, record: Record, fetched: Fetched) -> Example | None:
        try:
            return await asyncio.to_thread(
                example_of,
                record,
                fetched,
                self.view,
                self.folder,
                split="train",
                pictures=self.fmt.pictures,
            )
        except RegiontextError as fault:
            self._problem(f"record {record.id}: {fault}")
            return None

    def finish(
        self, options: Options, arms: Collection[Arm], project: int | None, model: str
    ) -> None:
        """Write the format's files, the data card and the manifest; blocks."""
        self._tell(self.tasks, f"writing {self.fmt.name}")
        self._tidy()
        written = write_dataset(self.folder, self.fmt, options)
        tally = Tally()
        for example in read_records(self.folder):
            if self.fmt.unfit(example, options) is None:
                tally.add(example)
        found = self.found
        found.errors += [f"{count} records: {why}" for why, count in written.left_out.items()]
        if not written.written:
            raise NotEnough(f"nothing fits {self.fmt.name}: {found.errors[-1]}")
        counts = tally.to_dict()
        found.records, found.images = counts["records"], counts["images"]
        shown = ("fields", "outcomes", "arms", "splits", "projects")
        found.counts = {name: counts[name] for name in shown}
        hashes = {str(number): config.hash for number, config in self.configs.items()}
        coordinates = options.coordinates or self.fmt.coordinates
        about = {"model": model, "view": str(self.view.to_dict()), "arms": ", ".join(arms)}
        if coordinates:
            about["coordinates"] = coordinates
        write_card(
            self.folder,
            tally,
            self.fmt,
            about=about,
            left_out=written.left_out,
            validation=self.validation,
        )
        write_manifest(
            self.folder,
            counts=counts,
            filters={
                "project": project,
                "arms": list(arms),
                "outcomes": "accepted, edited, added",
                "validation": self.validation,
            },
            config_hash=hashes[str(project)] if project is not None else None,
            extra={
                "kind": "export",
                "export_format": self.fmt.name,
                "coordinates": coordinates,
                "model": model,
                "view": self.view.to_dict(),
                "config_hashes": hashes,
                "left_out": found.errors,
            },
        )

    def _tidy(self) -> None:
        """Remove what earlier exports left and no record speaks of."""
        for path in self.folder.glob(_EARLIER.format("*")):
            path.unlink()
        used: set[str] = set()
        for example in read_records(self.folder):
            used.add(example.image.path)
            used |= set(example.marking.images if example.marking else ())
        for name in (IMAGES, MARKED):
            for path in (self.folder / name).glob("*"):
                if f"{name}/{path.name}" not in used:
                    path.unlink()

    def _tell(self, done: int, doing: str) -> None:
        self.progress(Progress(done, self.tasks, doing))

    def _problem(self, line: str) -> None:
        self.found.errors.append(line)
        self.progress(Progress(0, self.tasks, "writing records", line))


def _has_records(folder: Path) -> bool:
    return any(path.stat().st_size for path in folder.glob("*.jsonl")) or any(
        path.stat().st_size for path in folder.glob(_EARLIER.format("*"))
    )


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
