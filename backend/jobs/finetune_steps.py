"""The five steps of a fine-tuning run: begin, render, train, judge, settle.

Each can be done again after a kill in its middle, and gives what it would have given: what one step hands to the next
lies in the run's folder. Nothing before the decision changes what annotators get. Knows nothing of how steps are
kept track of.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from backend.assistant import Assistant
from backend.errors import BackendError
from backend.jobs.agreement import one_per_thing, standing_in
from backend.jobs.compare import Compared, compare
from backend.jobs.dataset import TrainingSet
from backend.jobs.errors import JobError, NotEnough
from backend.jobs.export import collect_from, configs_of
from backend.jobs.finetune_choice import Choice, read_choice, write_choice
from backend.jobs.finetune_report import FinetuneOptions, FinetuneReport
from backend.jobs.gate import decide
from backend.jobs.parity import MODULE as PARITY
from backend.jobs.pictures import pictures
from backend.jobs.progress import Notify, Progress
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
from backend.jobs.slices import known_words
from backend.jobs.studio import Studio
from backend.jobs.trainer import MODULE as TRAINER
from backend.jobs.trainer import Said, train
from backend.jobs.verdict import examine, write_page
from backend.serving import Served, refresh
from backend.store import ModelVersionRow
from regiontext.errors import RegiontextError
from regiontext.labelstudio.config import LabelingConfig
from regiontext.metrics.meaning import values_meaning_changed
from regiontext.records.manifest import write_manifest
from regiontext.records.record import Record

__all__ = ["PROGRESS_NAME", "Steps"]

PROGRESS_NAME = "progress.json"
"""In the run's folder while it trains: step, of, loss, phase, eta_s, and when that was (UNIX seconds)."""

_JOB_NAME = "job.json"


@dataclass
class Steps:
    """What the steps of one run work with."""

    assistant: Assistant
    studio: Studio
    progress: Notify
    options: FinetuneOptions
    trainer: str
    problems: list[str] = field(default_factory=list)
    last: Progress = field(default_factory=lambda: Progress(0, None, "beginning"))

    async def begin(self, project: int | None, job: str) -> dict[str, Any]:
        """Collect, choose, and open the run's folder: {"run": its number}. `job`: its id, which finds it again."""
        settings, store = self.assistant.settings, self.assistant.store
        data_dir = settings.data_dir.absolute()
        served = await refresh(settings, store, self.assistant.model)
        root = await self._root(served)
        for name in await asyncio.to_thread(close_interrupted, store):
            await self.assistant.model.unload_adapter(name)
        projects, problems = await collect_from(settings, project, self.progress, store)
        chosen = await asyncio.to_thread(self._choose, project, projects)
        run_dir = _run_of(data_dir, job)
        if run_dir is None:
            run_dir = begin_run(data_dir, self._taken())
            (run_dir / _JOB_NAME).write_text(json.dumps({"id": job}), encoding="utf-8")
        choice = Choice(
            name=f"{served.base}:{run_dir.name}",
            base=served.base,
            root=root,
            view=served.view,
            projects=tuple(projects),
            chosen=chosen,
            begun=time.time(),
            problems=tuple(problems),
        )
        await asyncio.to_thread(write_choice, run_dir, choice)
        return {"run": run_dir.name}

    async def render(self, run: str) -> dict[str, Any]:
        """Write the training set; its counts and what was left out."""
        run_dir, choice = self._run(run)
        folder = run_dir / "data"
        shutil.rmtree(folder, ignore_errors=True)
        configs = await configs_of(self.studio, choice.projects)
        records = choice.chosen.training
        data, done = TrainingSet(folder), 0
        async for image, group in pictures(
            self.studio, self.assistant.images, configs, records, problem=self._problem
        ):
            for record in group:
                try:
                    shown = variants(
                        record,
                        image,
                        choice.view,
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
        manifest = await asyncio.to_thread(
            data.finish, view=choice.view.to_dict(), seed=self.options.seed
        )
        return {"counts": manifest["counts"], "problems": list(self.problems)}

    async def train(self, run: str) -> dict[str, Any]:
        """Train the adapter in a process of its own, which goes on where an earlier one was killed."""
        run_dir, choice = self._run(run)

        def told(said: Said) -> None:
            _write_progress(run_dir, said)
            left = f", {_words(said.eta_s)} left" if said.eta_s is not None else ""
            self._tell(said.step, said.of, f"training on {said.phase} (loss {said.loss:.3f}{left})")

        await train(
            choice.root,
            run_dir / "data",
            run_dir / "adapter",
            run_dir / "train.log",
            options=self.options.for_trainer(),
            threads=self.options.threads or os.cpu_count() or 1,
            step=told,
            module=self.trainer,
        )
        return {}

    async def judge(
        self, run: str, counts: Mapping[str, Any], problems: Sequence[str]
    ) -> FinetuneReport:
        """Ask champion and challenger the same questions, and decide; nothing that is served changes yet."""
        run_dir, choice = self._run(run)
        settings, store, model = (
            self.assistant.settings,
            self.assistant.store,
            self.assistant.model,
        )
        self.problems = [*choice.problems, *problems]
        # The champion of now: somebody may have rolled back meanwhile.
        served = replace(await refresh(settings, store, model), view=choice.view)
        configs = await configs_of(self.studio, choice.projects)
        adapter, name = run_dir / "adapter", choice.name
        await asyncio.to_thread(
            register, store, name, base=choice.base, adapter=adapter, run_dir=run_dir
        )
        compared = await self._compare(choice.chosen, configs, served, name, adapter)
        examined = await examine(
            self.assistant,
            self.studio,
            configs,
            compared,
            champion=served.model,
            challenger=name,
            base=choice.root,
            adapter=adapter,
            view=choice.view,
            run_dir=run_dir,
            problem=self._problem,
            # What stands in for the trainer has no weights that could be run.
            module=PARITY if self.trainer == TRAINER else None,
        )
        judged = [item.judged for item in compared]
        decision = decide(judged, seed=self.options.seed, insane=examined.insane)
        await asyncio.to_thread(write_page, run_dir, name, served.model, decision, examined)
        told = {
            "training": dict(counts),
            "judging": _counts([item for item in compared if not item.judged.guard]),
            "guarding": _counts([item for item in compared if item.judged.guard]),
            "validation_judges": choice.chosen.validated,
        }
        report = FinetuneReport(
            run=run_dir.name,
            name=name,
            promoted=decision.promote,
            reason=decision.reason,
            champion=served.model,
            decision=decision,
            counts=told,
            seconds=round(time.time() - choice.begun, 1),
            run_dir=run_dir,
            problems=self.problems,
        )
        await asyncio.to_thread(self._write_down, report, compared, configs, choice.root)
        return report

    async def settle(self, report: FinetuneReport) -> dict[str, Any]:
        """Promote or discard what was judged; the problems with telling Label Studio of it."""
        self.problems = []
        decision = report.decision
        metrics = {"reason": decision.reason, **decision.to_dict(), "counts": report.counts}
        await asyncio.to_thread(
            record_result,
            self.assistant.store,
            report.name,
            metrics,
            promote=report.promoted,
        )
        if report.promoted:
            await self._announce(read_choice(report.run_dir).projects)
        else:
            await self.assistant.model.unload_adapter(report.name)
        return {"problems": self.problems}

    def _run(self, run: str) -> tuple[Path, Choice]:
        run_dir = self.assistant.settings.data_dir.absolute() / "runs" / run
        return run_dir, read_choice(run_dir)

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
        stands = standing_in(store, project)
        learnt_from, held_out = (
            [
                r
                for r in one_per_thing(load_records(store, project, arms=arms), stands)
                if r.project in projects
            ]
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
                known=known_words(chosen.training),
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
        (report.run_dir / PROGRESS_NAME).unlink(missing_ok=True)
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
                "left_out": list(report.problems),
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


def _run_of(data_dir: Path, job: str) -> Path | None:
    """The folder that a job opened before it was killed."""
    for path in (data_dir / "runs").glob(f"*/{_JOB_NAME}"):
        try:
            if json.loads(path.read_text(encoding="utf-8"))["id"] == job:
                return path.parent
        except (OSError, ValueError, KeyError):
            continue
    return None


def _add_all(data: TrainingSet, record: Record, shown: Any) -> None:
    edited = record.outcome == "edited" and record.suggested is not None
    changed = edited and values_meaning_changed(
        record.suggested or (), record.answer, closed=record.kind == "closed"
    )
    for one in shown:
        data.add(record, one, preferred=changed)


def _counts(compared: Sequence[Compared]) -> dict[str, Any]:
    return {
        "records": len(compared),
        "images": len({item.record.image_hash for item in compared}),
        "fields": dict(Counter(item.record.field for item in compared)),
        "arms": dict(Counter(item.record.arm for item in compared)),
    }


def _write_progress(run_dir: Path, said: Said) -> None:
    beside = run_dir / f"{PROGRESS_NAME}.tmp"
    beside.write_text(json.dumps(asdict(said) | {"at": round(time.time(), 1)}), encoding="utf-8")
    os.replace(beside, run_dir / PROGRESS_NAME)


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
