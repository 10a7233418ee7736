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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from backend.assistant import Assistant
from backend.errors import BackendError
from backend.jobs.errors import NotEnough
from backend.jobs.export import collect_from, configs_of
from backend.jobs.finetune_choice import Choice, read_choice, write_choice
from backend.jobs.finetune_drawing import draw_training_set
from backend.jobs.finetune_judging import ask_both, counts_of, write_down
from backend.jobs.finetune_opening import records_of, root_of, run_folder
from backend.jobs.finetune_places import place_all, splits
from backend.jobs.finetune_report import FinetuneOptions, FinetuneReport
from backend.jobs.gate import decide
from backend.jobs.parity import MODULE as PARITY
from backend.jobs.progress import Notify, Progress
from backend.jobs.runs import Chosen, choose, close_interrupted, record_result, register
from backend.jobs.studio import Studio
from backend.jobs.trainer import MODULE as TRAINER
from backend.jobs.trainer import Said, train
from backend.jobs.verdict import examine, write_page
from backend.serving import refresh

__all__ = ["PROGRESS_NAME", "Steps"]

PROGRESS_NAME = "progress.json"
"""In the run's folder while it trains: step, of, loss, phase, eta_s, and when that was (UNIX seconds)."""


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
        root = await root_of(self.assistant.model, served.base)
        for name in await asyncio.to_thread(close_interrupted, store):
            await self.assistant.model.unload_adapter(name)
        projects, problems = await collect_from(settings, project, self.progress, store)
        chosen = await self._choose(project, projects, problems)
        run_dir = run_folder(store, data_dir, job)
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

    async def _choose(
        self, project: int | None, projects: Sequence[int], problems: list[str]
    ) -> Chosen:
        store, options = self.assistant.store, self.options
        learnable, holdout = await asyncio.to_thread(records_of, store, project, projects)
        every = [*holdout, *learnable]

        def problem(line: str) -> None:
            problems.append(line)
            self.progress(replace(self.last, problem=line))

        places = await place_all(
            store,
            self.assistant.settings.data_dir / "locks",
            every,
            self.studio,
            self.assistant.images,
            await configs_of(self.studio, projects),
            looked=lambda n: self._tell(n, len(every), "looking for near duplicates"),
            waiting=lambda words: self._tell(0, len(every), words),
            problem=problem,
        )
        known = splits(places, learnable, holdout)
        alike = [r for r in learnable if places.get(r.image_hash) and known[r.image_hash] is None]
        if alike:
            problem(
                f"{len(alike)} records left out: their images nearly are the same as ones that judge, or lie between "
                "training and validation"
            )
        return choose(
            learnable,
            holdout,
            known,
            min_records=options.min_records,
            min_eval=options.min_eval,
            max_eval=options.max_eval,
        )

    async def render(self, run: str) -> dict[str, Any]:
        """Write the training set; its counts and what was left out."""
        run_dir, choice = self._run(run)
        folder = run_dir / "data"
        shutil.rmtree(folder, ignore_errors=True)
        configs = await configs_of(self.studio, choice.projects)
        records = choice.chosen.training
        data = await draw_training_set(
            folder,
            choice,
            configs,
            self.studio,
            self.assistant.images,
            self.options,
            drawn=lambda n: self._tell(n, len(records), "rendering what was corrected"),
            problem=self._problem,
        )
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
        (run_dir / PROGRESS_NAME).unlink(missing_ok=True)
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
        total = len(choice.chosen.judging) + len(choice.chosen.guarding)
        compared = await ask_both(
            self.assistant,
            self.studio,
            configs,
            choice.chosen,
            served,
            name,
            adapter,
            asked=lambda n: self._tell(n, total, "asking champion and challenger"),
            problem=self._problem,
        )
        if sum(not item.judged.guard for item in compared) < self.options.min_eval:
            await model.unload_adapter(name)
            raise NotEnough(
                f"only {len(compared)} of {total} texts can be judged by: {self.problems[-1]}"
            )
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
            "judging": counts_of([item for item in compared if not item.judged.guard]),
            "guarding": counts_of([item for item in compared if item.judged.guard]),
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
        await asyncio.to_thread(write_down, report, compared, configs, choice.root, self.options)
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


def _write_progress(run_dir: Path, said: Said) -> None:
    beside = run_dir / f"{PROGRESS_NAME}.tmp"
    beside.write_text(json.dumps(asdict(said) | {"at": round(time.time(), 1)}), encoding="utf-8")
    os.replace(beside, run_dir / PROGRESS_NAME)


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
