"""Teaches the model what people corrected, and serves the result only if it has proved itself better.

The order of one run: collect, choose records, render them, train a challenger in a process of its own, ask champion and
challenger the same questions, decide, promote or discard. Each step is its own module; nothing before the decision
changes what annotators get.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from backend.assistant import Assistant
from backend.errors import BackendError
from backend.jobs.compare import Compared, compare
from backend.jobs.dataset import TrainingSet
from backend.jobs.errors import JobError, NotEnough
from backend.jobs.export import collect_from, configs_of
from backend.jobs.finetune_report import FinetuneOptions, FinetuneReport
from backend.jobs.gate import decide
from backend.jobs.lock import exclusive
from backend.jobs.opening import workplace
from backend.jobs.pictures import pictures
from backend.jobs.progress import Notify, Progress, quiet
from backend.jobs.records import HELD_OUT, LEARNT_FROM, load_records
from backend.jobs.runs import (
    Chosen,
    begin_run,
    choose,
    close_interrupted,
    record_result,
    register,
)
from backend.jobs.showing import variants
from backend.jobs.studio import Studio
from backend.jobs.trainer import MODULE, train
from backend.serving import Served, refresh
from backend.settings import Settings
from backend.store import ModelVersionRow, Store
from regiontext.errors import RegiontextError
from regiontext.labelstudio.config import LabelingConfig
from regiontext.records.manifest import write_manifest
from regiontext.records.record import Record

__all__ = ["FinetuneOptions", "FinetuneReport", "finetune"]


async def finetune(
    settings: Settings,
    project: int | None = None,
    progress: Notify = quiet,
    *,
    options: FinetuneOptions | None = None,
    store: Store | None = None,
    trainer: str = MODULE,
) -> FinetuneReport:
    """Train on the corrections of a project (of all, if None), judge, and promote the result if it is better.

    Everything about the run stays in `runs/NNNN` of the data folder: the training set, the adapter, the log, both
    models' answers and a manifest. Killed at any moment, it changes nothing that is served.

    Raises NotEnough if there are too few records, JobError if training fails, ModelUnavailable and LabelStudioError
    if either does not answer.
    """

    def waiting(words: str) -> None:
        progress(Progress(0, None, words))

    async with (
        exclusive(settings.data_dir / "locks", "finetune", waiting=waiting),
        workplace(settings, store) as (assistant, studio),
    ):
        run = _Run(assistant, studio, progress, options or FinetuneOptions(), trainer)
        return await run.go(project)


@dataclass
class _Run:
    """One run, from the first record to the decision."""

    assistant: Assistant
    studio: Studio
    progress: Notify
    options: FinetuneOptions
    trainer: str
    problems: list[str] = field(default_factory=list)
    last: Progress = field(default_factory=lambda: Progress(0, None, "beginning"))

    async def go(self, project: int | None) -> FinetuneReport:
        began = time.monotonic()
        settings, store, model = (
            self.assistant.settings,
            self.assistant.store,
            self.assistant.model,
        )
        served = await refresh(settings, store, model)
        root = await self._root(served)
        for name in await asyncio.to_thread(close_interrupted, store):
            await model.unload_adapter(name)
        projects, problems = await collect_from(settings, project, self.progress, store)
        self.problems += problems
        configs = await configs_of(self.studio, projects)
        chosen = await asyncio.to_thread(self._choose, project, projects)

        run_dir = begin_run(settings.data_dir.absolute(), self._taken())
        name = f"{served.base}:{run_dir.name}"
        data = await self._render(chosen, configs, served, run_dir / "data")
        adapter = run_dir / "adapter"
        await train(
            root,
            run_dir / "data",
            adapter,
            run_dir / "train.log",
            options=self.options.for_trainer(),
            threads=self.options.threads or os.cpu_count() or 1,
            step=lambda step, of, loss: self._tell(step, of, f"training (loss {loss:.3f})"),
            module=self.trainer,
        )
        await asyncio.to_thread(
            register, store, name, base=served.base, adapter=adapter, run_dir=run_dir
        )
        compared = await self._compare(chosen, configs, served, name, adapter)
        decision = decide([item.judged for item in compared], seed=self.options.seed)
        counts = {
            "training": data["counts"],
            "judging": _counts([item for item in compared if not item.judged.guard]),
            "guarding": _counts([item for item in compared if item.judged.guard]),
            "validation_judges": chosen.validated,
        }
        report = FinetuneReport(
            run=run_dir.name,
            name=name,
            promoted=decision.promote,
            reason=decision.reason,
            champion=served.model,
            decision=decision,
            counts=counts,
            seconds=round(time.monotonic() - began, 1),
            run_dir=run_dir,
            problems=self.problems,
        )
        await asyncio.to_thread(self._write_down, report, compared, configs, root)
        metrics = {"reason": decision.reason, **decision.to_dict(), "counts": counts}
        await asyncio.to_thread(record_result, store, name, metrics, promote=decision.promote)
        if decision.promote:
            await self._announce(projects)
        else:
            await model.unload_adapter(name)
        return report

    async def _root(self, served: Served) -> str:
        """The folder or hub id of the base model, as its server announces it."""
        for model in await self.assistant.model.models():
            if model["id"] == served.base:
                root = str(model.get("root") or "")
                if root.startswith(("/", ".")) and not Path(root).is_dir():
                    raise JobError(
                        f"the model server has its model in {root}, which is not a folder on this machine; "
                        "fine-tuning runs where the model's folder is"
                    )
                if root:
                    return root
        raise JobError(
            f"the model server does not say where the base model {served.base!r} is "
            "(no root in GET /v1/models)"
        )

    def _choose(self, project: int | None, projects: Sequence[int]) -> Chosen:
        store, options = self.assistant.store, self.options
        learnt_from, held_out = (
            [r for r in load_records(store, project, arms=arms) if r.project in projects]
            for arms in (LEARNT_FROM, HELD_OUT)
        )
        return choose(
            learnt_from,
            held_out,
            min_records=options.min_records,
            min_eval=options.min_eval,
            max_eval=options.max_eval,
        )

    def _taken(self) -> list[str]:
        with self.assistant.store.read() as session:
            return list(session.scalars(select(ModelVersionRow.name)))

    async def _render(
        self,
        chosen: Chosen,
        configs: dict[int, LabelingConfig],
        served: Served,
        folder: Path,
    ) -> dict[str, Any]:
        """Write the training set; its manifest."""
        records = chosen.training
        data, done = TrainingSet(folder), 0
        async for image, group in pictures(
            self.studio, self.assistant.images, configs, records, problem=self._problem
        ):
            for record in group:
                try:
                    shown = variants(
                        record,
                        image,
                        served.view,
                        configs[record.project],
                        renders=self.options.renders,
                        seed=self.options.seed,
                    )
                    await asyncio.to_thread(_add_all, data, record, shown)
                except RegiontextError as fault:
                    self._problem(f"record {record.id}: {fault}")
                done += 1
            self._tell(done, len(records), "rendering what was corrected")
        if data.records < self.options.min_records:
            raise NotEnough(
                f"only {data.records} of {len(records)} texts can be learnt from: {self.problems[-1]}"
            )
        return await asyncio.to_thread(
            data.finish, view=served.view.to_dict(), seed=self.options.seed
        )

    async def _compare(
        self,
        chosen: Chosen,
        configs: Mapping[int, LabelingConfig],
        served: Served,
        name: str,
        adapter: Path,
    ) -> list[Compared]:
        client, settings = self.assistant.model, self.assistant.settings
        await client.load_adapter(name, str(adapter))
        if served.adapter is not None and served.adapter_path is not None:
            await client.load_adapter(served.adapter, served.adapter_path)
        records = [*chosen.judging, *chosen.guarding]
        try:
            compared = await compare(
                client,
                self.studio,
                self.assistant.images,
                configs,
                records,
                guards={record.id for record in chosen.guarding},
                champion=served.model,
                challenger=name,
                view=served.view,
                max_tokens=settings.max_tokens,
                concurrency=settings.model_concurrency,
                asked=lambda n: self._tell(n, len(records), "asking champion and challenger"),
                problem=self._problem,
            )
        except BackendError:
            await client.unload_adapter(name)
            raise
        if sum(not item.judged.guard for item in compared) < self.options.min_eval:
            await client.unload_adapter(name)
            raise NotEnough(
                f"only {len(compared)} of {len(records)} texts can be judged by: {self.problems[-1]}"
            )
        return compared

    def _write_down(
        self,
        report: FinetuneReport,
        compared: Sequence[Compared],
        configs: Mapping[int, LabelingConfig],
        root: str,
    ) -> None:
        """Both models' answers and the manifest, into the run's folder."""
        lines = [json.dumps(item.to_dict(), ensure_ascii=False) for item in compared]
        text = "".join(f"{line}\n" for line in lines)
        (report.run_dir / "answers.jsonl").write_text(text, encoding="utf-8")
        write_manifest(
            report.run_dir,
            counts=report.counts,
            filters={"projects": sorted(configs), "arms": list(LEARNT_FROM)},
            extra={
                "kind": "run",
                "name": report.name,
                "base": root,
                "champion": report.champion,
                "options": asdict(self.options),
                "decision": report.decision.to_dict(),
                "promoted": report.promoted,
                "seconds": report.seconds,
                "config_hashes": {str(number): config.hash for number, config in configs.items()},
                "left_out": list(self.problems),
            },
        )

    async def _announce(self, projects: Sequence[int]) -> None:
        """Make Label Studio ask for the model version, which is another one now."""
        for number in projects:
            try:
                await self.studio.refresh_backends(number)
            except BackendError as fault:
                self._problem(f"project {number}: not told of the new version: {fault}")

    def _tell(self, done: int, total: int, doing: str) -> None:
        self.last = Progress(done, total, doing)
        self.progress(self.last)

    def _problem(self, line: str) -> None:
        self.problems.append(line)
        self.progress(replace(self.last, problem=line))


def _add_all(data: TrainingSet, record: Record, shown: Any) -> None:
    for one in shown:
        data.add(record, one)


def _counts(compared: Sequence[Compared]) -> dict[str, Any]:
    return {
        "records": len(compared),
        "images": len({item.record.image_hash for item in compared}),
        "fields": dict(Counter(item.record.field for item in compared)),
        "arms": dict(Counter(item.record.arm for item in compared)),
    }
