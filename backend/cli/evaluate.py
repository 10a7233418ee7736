"""`regiontext evaluate`: a benchmark in, a table and a file of figures out."""

from __future__ import annotations

import asyncio
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from backend.cli.running import (
    DEFAULT_DATA_DIR,
    DataDir,
    errors_in_one_line,
    output,
    progress_bar,
)

if TYPE_CHECKING:
    from backend.evaluate.judge import Judge
    from backend.settings import Settings

__all__ = ["evaluate"]


class Benchmark(StrEnum):
    """What a model can be put to."""

    REGIONBENCH = "regionbench"
    VIP_BENCH = "vip-bench"
    DLC_BENCH = "dlc-bench"


class Split(StrEnum):
    """How ViP-Bench's pictures are marked."""

    BBOX = "bbox"
    HUMAN = "human"


_JUDGE = "Judge (vip-bench, dlc-bench)"
_MODEL = "Model"


def evaluate(
    folder: Annotated[
        Path | None,
        typer.Argument(help="The benchmark's folder, as downloaded; RegionBench needs none."),
    ] = None,
    benchmark: Annotated[
        Benchmark, typer.Option("--benchmark", "-b", help="Which benchmark.")
    ] = Benchmark.REGIONBENCH,
    model: Annotated[
        str | None,
        typer.Option(
            help="Id of a served model or adapter; default: the first served one.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    model_url: Annotated[
        str | None,
        typer.Option(
            help="Its OpenAI-compatible server, with /v1; default: the configured one.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            help="Judge these answers (JSON, id to text) and ask no model.", rich_help_panel=_MODEL
        ),
    ] = None,
    question: Annotated[
        str | None,
        typer.Option(
            help="What is asked about a region of DLC-Bench, with {mark} in it.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(min=1, help="Longest answer, in tokens.", rich_help_panel=_MODEL)
    ] = 512,
    judge_url: Annotated[
        str | None,
        typer.Option(
            envvar="REGIONTEXT_JUDGE_URL",
            help="Any OpenAI-compatible server, with /v1.",
            rich_help_panel=_JUDGE,
        ),
    ] = None,
    judge_model: Annotated[
        str | None,
        typer.Option(envvar="REGIONTEXT_JUDGE_MODEL", help="Its model.", rich_help_panel=_JUDGE),
    ] = None,
    judge_key: Annotated[
        str | None,
        typer.Option(
            envvar="REGIONTEXT_JUDGE_API_KEY",
            help="Its key; better given by the variable.",
            rich_help_panel=_JUDGE,
        ),
    ] = None,
    judge_prompt: Annotated[
        Path | None,
        typer.Option(
            help="A file with the published evaluator's own prompt, for comparable figures.",
            rich_help_panel=_JUDGE,
        ),
    ] = None,
    split: Annotated[
        Split, typer.Option(help="ViP-Bench: how its pictures are marked.")
    ] = Split.BBOX,
    runs: Annotated[
        int, typer.Option(min=1, help="ViP-Bench: how often each answer is graded.")
    ] = 1,
    regions: Annotated[int, typer.Option(min=1, help="RegionBench: how many regions.")] = 600,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many items, to try it out.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Questions at once.")] = 4,
    out: Annotated[
        Path | None,
        typer.Option(help="Where answers and figures go; default: evaluate/… of the data folder."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Run a benchmark on the served model.

    RegionBench needs nothing else. ViP-Bench and DLC-Bench need their download and a judge: any model behind an
    OpenAI-compatible server; they may be stopped and started again: nothing is asked twice.
    """
    with errors_in_one_line():
        from backend.up.settings import find_settings

        settings = find_settings(data_dir, model_url=model_url)
        options = {
            "model": model,
            "answers": answers,
            "question": question,
            "max_tokens": max_tokens,
            "judge_prompt": judge_prompt,
            "runs": runs,
            "limit": limit,
            "concurrency": concurrency,
        }
        if benchmark is Benchmark.REGIONBENCH:
            asyncio.run(_regionbench(settings, model, regions, out or data_dir / "evaluate"))
            return
        from backend.evaluate.errors import EvaluateError
        from backend.evaluate.judge import Judge

        if folder is None:
            raise EvaluateError(
                f"where is it? regiontext evaluate --benchmark {benchmark.value} DIR, DIR being its download"
            )
        if not judge_url or not judge_model:
            raise EvaluateError(
                f"{benchmark.value} needs a judge: --judge-url http://…/v1 --judge-model NAME (or "
                "REGIONTEXT_JUDGE_URL, REGIONTEXT_JUDGE_MODEL and REGIONTEXT_JUDGE_API_KEY)"
            )
        judge = Judge(judge_url, judge_model, judge_key)
        where = out or data_dir / "evaluate"
        told, path = asyncio.run(
            _judged(settings, benchmark, folder, split.value, judge, where, options)
        )
        console = output()
        console.print(_table(benchmark, told))
        console.print(f"figures and answers: {path.parent}", soft_wrap=True, highlight=False)


async def _regionbench(settings: Settings, model: str | None, regions: int, out: Path) -> None:
    from backend.evaluate.regionbench import put_regionbench
    from backend.evaluate.run import served_model
    from backend.model_client import client_of

    async with client_of(settings) as client:
        name, _ = await served_model(client, model or settings.model)
    key = settings.model_api_key
    path = out / f"regionbench-{_file_name(name)}.json"
    await put_regionbench(
        settings.model_url,
        name,
        path,
        regions=regions,
        view=settings.view,
        key=key.get_secret_value() if key else None,
    )
    output().print(f"figures: {path}", soft_wrap=True, highlight=False)


async def _judged(
    settings: Settings,
    benchmark: Benchmark,
    folder: Path,
    split: str,
    judge: Judge,
    out: Path,
    options: dict[str, Any],
) -> tuple[dict[str, Any], Path]:
    from backend.evaluate.run import (
        DESCRIBE,
        Evaluation,
        evaluate_dlc,
        evaluate_vip,
        given_answers,
        served_model,
        write_result,
    )
    from backend.model_client import client_of
    from regiontext.marks.view import View

    given = given_answers(options["answers"]) if options["answers"] else None
    words = options["judge_prompt"].read_text(encoding="utf-8") if options["judge_prompt"] else None
    vip = benchmark is Benchmark.VIP_BENCH
    async with client_of(settings) as client, judge:
        if given is None:
            name, view = await served_model(client, options["model"] or settings.model)
        else:
            name, view = options["answers"].stem, View()
        parts = [benchmark.value, *([split] if vip else []), _file_name(name)]
        run = Evaluation(
            folder=folder,
            out=out / "-".join(parts),
            model=name,
            view=View.from_dict(settings.view) if settings.view else view,
            given=given,
            words=words,
            runs=options["runs"],
            limit=options["limit"],
            concurrency=options["concurrency"],
            max_tokens=options["max_tokens"],
            question=options["question"] or DESCRIBE,
        )
        with progress_bar(benchmark.value) as notify:
            if vip:
                told = await evaluate_vip(run, split, client, judge, notify)
            else:
                told = await evaluate_dlc(run, client, judge, notify)
    path = run.out / "result.json"
    write_result(path, told)
    return told, path


def _file_name(model: str) -> str:
    return re.sub(r"[^\w.-]+", "_", model).strip("._") or "model"


def _table(benchmark: Benchmark, told: dict[str, Any]) -> Table:
    if benchmark is Benchmark.VIP_BENCH:
        table = Table("ViP-Bench", "score", "n")
        interval = told["interval"]
        shown = f"{told['total']} ({interval[0]} to {interval[1]})" if interval else "–"
        table.add_row("all", shown, str(told["n"]))
        for name, part in told["capabilities"].items():
            table.add_row(name, str(part["score"]), str(part["n"]))
        return table
    table = Table("DLC-Bench", "score", "n")
    for name in ("positive", "negative", "recognised"):
        part = told[name]
        if part is not None:
            figure = f"{part['value']:.3f} ({part['low']:.3f} to {part['high']:.3f})"
            table.add_row(name, figure, str(part["n"]))
    if told["average"] is not None:
        table.add_row("average of both", f"{told['average']:.3f}", str(told["n"]))
    return table
