"""Runs a benchmark: asks the model about each picture, asks the judge about each answer, writes the figures down.

Whatever was answered is kept at once, under everything that it depends on; the same command goes on where it stopped
and asks nothing twice. Knows the benchmarks by their modules only.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from backend.data_urls import data_url
from backend.errors import ModelError, ModelUnavailable
from backend.evaluate import dlc_bench, vip_bench
from backend.evaluate.answers import Answers, key_of
from backend.evaluate.errors import EvaluateError
from backend.evaluate.judge import Judge
from backend.jobs.progress import Notify, Progress
from backend.model_client import ModelClient
from regiontext.images import image_hash, load_image
from regiontext.marks.view import View, render
from regiontext.questions.prompt import ORDER, prompt
from regiontext.questions.question import Question

__all__ = [
    "DESCRIBE",
    "Evaluation",
    "evaluate_dlc",
    "evaluate_vip",
    "given_answers",
    "served_model",
    "write_result",
]

DESCRIBE = "Describe the object {mark} in detail."
"""What a model is asked about a region of DLC-Bench."""

_VIP_TOKENS = 3
_DLC_TOKENS = 300
_PAUSE_S = 2.0

_One = TypeVar("_One")
_Two = TypeVar("_Two")


@dataclass(frozen=True)
class Evaluation:
    """One run of a benchmark.

    folder: the download. out: where answers and figures are kept. model: the id that is asked. view: how regions are
    shown to it, where the benchmark leaves that to the model. given: answers by item instead of the model's. words:
    the judge's prompt instead of ours. runs: how often the judge grades each answer (ViP-Bench). limit: only the
    first so many items. patience_s: how long a model that is loading, busy or away is asked again.
    """

    folder: Path
    out: Path
    model: str
    view: View
    given: Mapping[str, str] | None = None
    words: str | None = None
    runs: int = 1
    limit: int | None = None
    concurrency: int = 4
    patience_s: float = 120.0
    max_tokens: int = 512
    question: str = DESCRIBE


async def served_model(client: ModelClient, wanted: str | None) -> tuple[str, View]:
    """The id of the model to ask, and how it wants regions shown: as the server announces, else whole picture and crop
    with the region's contour.

    Without `wanted`, the first that is no adapter. Raises EvaluateError for one that is not served, ModelUnavailable.
    """
    served = {str(entry["id"]): entry for entry in await client.models()}
    bases = [name for name, entry in served.items() if not entry.get("parent")]
    name = wanted or next(iter(bases), None)
    if name is None or name not in served:
        known = ", ".join(sorted(served)) or "no model at all"
        raise EvaluateError(f"the model server does not serve {name!r}; it serves {known}")
    view = served[name].get("view")
    return name, View.from_dict(view) if isinstance(view, dict) else View("both", "contour")


def given_answers(path: Path) -> dict[str, str]:
    """Answers made elsewhere: a JSON object from an item's id to its text, as both benchmarks keep them.

    Raises EvaluateError if the file is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluateError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise EvaluateError(f"{path} is no object from an item's id to its answer")
    return {str(id): text for id, text in found.items() if isinstance(text, str)}


async def evaluate_vip(
    run: Evaluation, split: str, client: ModelClient, judge: Judge, progress: Notify
) -> dict[str, Any]:
    """ViP-Bench's figures of a model. Raises EvaluateError and ModelUnavailable."""
    items = vip_bench.read_vip_bench(run.folder, split)[: run.limit]
    words = run.words or vip_bench.PROMPT
    answers = Answers(run.out / "answers.jsonl")

    async def answer(item: vip_bench.VipItem) -> str:
        if run.given is not None:
            return _given(run.given, item.id)
        data = await asyncio.to_thread(item.image.read_bytes)
        key = key_of("vip", run.model, item.question, image_hash(data), run.max_tokens)

        async def ask() -> str:
            url = await asyncio.to_thread(lambda: data_url(load_image(data)))
            return await _ask(client, run, url, item.question)

        return await _kept(answers, key, ask, item=item.id, model=run.model)

    async def grade(pair: tuple[vip_bench.VipItem, str]) -> list[float]:
        item, said = pair
        return [
            await _graded(answers, judge, item, said, words, number) for number in range(run.runs)
        ]

    try:
        said = await _each(items, answer, run.concurrency, progress, "asking the model")
        pairs = list(zip(items, said, strict=True))
        grades = await _each(pairs, grade, run.concurrency, progress, "asking the judge")
    finally:
        answers.close()
    return _told(run, judge, split=split) | vip_bench.figures(items, grades)


async def _graded(
    answers: Answers, judge: Judge, item: vip_bench.VipItem, said: str, words: str, number: int
) -> float:
    """The judge's grade of one answer in run `number`: five tries, each warmer than the one before, then 0."""
    for attempt in range(vip_bench.TRIES):
        asked = vip_bench.judge_words(item, said, prompt=words, again=attempt > 0)
        warmth = min(2.0, 0.5 * max(0, attempt - 1))
        key = key_of("vip judge", judge.model, asked, number, attempt)

        async def ask(asked: str = asked, warmth: float = warmth) -> str:
            return await judge.ask(asked, max_tokens=_VIP_TOKENS, temperature=warmth)

        told = await _kept(answers, key, ask, item=item.id, judge=judge.model, run=number)
        grade = vip_bench.verdict(told)
        if grade is not None:
            return grade
    return 0.0


async def evaluate_dlc(
    run: Evaluation, client: ModelClient, judge: Judge, progress: Notify
) -> dict[str, Any]:
    """DLC-Bench's figures of a model. Raises EvaluateError and ModelUnavailable."""
    items = dlc_bench.read_dlc_bench(run.folder)[: run.limit]
    words = run.words or dlc_bench.PROMPT
    answers = Answers(run.out / "answers.jsonl")

    async def answer(item: dlc_bench.DlcItem) -> str:
        if run.given is not None:
            return _given(run.given, item.id)
        data = await asyncio.to_thread(item.image.read_bytes)
        asked = [run.model, run.question, image_hash(data), item.segmentation]
        key = key_of("dlc", *asked, *ORDER, run.view.hash, run.max_tokens)

        async def ask() -> str:
            image = load_image(data)
            region = dlc_bench.region_of(item, image.size)
            rendered = await asyncio.to_thread(render, image, [region], run.view)
            question = Question("caption", "open", run.question, (), (item.id,))
            urls = [await asyncio.to_thread(data_url, one) for one in rendered.images]
            return await _ask(client, run, *urls, prompt(question, rendered))

        return await _kept(answers, key, ask, item=item.id, model=run.model)

    async def pick(pair: tuple[dlc_bench.DlcItem, str]) -> list[int | None]:
        item, said = pair
        picked = []
        for question in item.questions:
            asked = dlc_bench.judge_words(question, said, prompt=words)

            async def ask(asked: str = asked) -> str:
                return await judge.ask(asked, max_tokens=_DLC_TOKENS)

            key = key_of("dlc judge", judge.model, asked)
            told = await _kept(answers, key, ask, item=item.id, judge=judge.model)
            picked.append(dlc_bench.chosen(told, [text for text, _ in question.choices]))
        return picked

    try:
        said = await _each(items, answer, run.concurrency, progress, "asking the model")
        pairs = list(zip(items, said, strict=True))
        picked = await _each(pairs, pick, run.concurrency, progress, "asking the judge")
    finally:
        answers.close()
    return _told(run, judge) | dlc_bench.figures(items, picked)


def write_result(path: Path, told: Mapping[str, Any]) -> None:
    """Write the figures, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)


def _told(run: Evaluation, judge: Judge, **more: Any) -> dict[str, Any]:
    """What the figures are about."""
    made = {"model": run.model if run.given is None else None, "judge": judge.model}
    return {
        "run": made | {"own_judge_prompt": run.words is not None, "view": run.view.to_dict()} | more
    }


def _given(answers: Mapping[str, str], id: str) -> str:
    if id not in answers:
        raise EvaluateError(f"the given answers have none for {id}")
    return answers[id]


async def _ask(client: ModelClient, run: Evaluation, *parts: str) -> str:
    """The model's answer to pictures and words (last); "" where it has none."""
    *urls, words = parts
    until = time.monotonic() + run.patience_s
    while True:
        try:
            said = await client.ask(urls, words, model=run.model, max_tokens=run.max_tokens)
        except ModelUnavailable:
            if time.monotonic() >= until:
                raise
            await asyncio.sleep(min(_PAUSE_S, run.patience_s))
        except ModelError as error:
            if "empty answer" in str(error):
                return ""
            raise
        else:
            return said.text


async def _kept(answers: Answers, key: str, ask: Callable[[], Awaitable[str]], **about: Any) -> str:
    known = answers.get(key)
    if known is None:
        known = await ask()
        answers.put(key, known, **about)
    return known


async def _each(
    items: Sequence[_One],
    work: Callable[[_One], Awaitable[_Two]],
    concurrency: int,
    progress: Notify,
    doing: str,
) -> list[_Two]:
    """The result of each item, in order; the first failure stops the others."""
    gate, done = asyncio.Semaphore(concurrency), 0

    async def one(item: _One) -> _Two:
        nonlocal done
        async with gate:
            found = await work(item)
        done += 1
        progress(Progress(done, len(items), doing))
        return found

    tasks: list[asyncio.Task[_Two]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return [task.result() for task in tasks]
