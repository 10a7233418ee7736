"""A batch that fails: its questions are asked alone, and nothing that was begun is asked again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from model_server.batches import Job
from model_server.errors import RequestError
from model_server.families.packed import PackedModel
from model_server.families.rescue import prepared, together_or_alone
from model_server.jobs import Answer, Prompt
from tests.model_server.answering import ask, prompt
from tests.model_server.conftest import TEXTS

pytestmark = pytest.mark.model
SAID = Answer("red", (), "stop", 1)


def test_one_that_cannot_be_prepared_fails_alone() -> None:
    def prepare(asked: Prompt) -> int:
        if asked.options:
            raise RequestError("too long")
        return 7

    jobs = [Job(Prompt([], [])), Job(Prompt([], [], ("a",))), Job(Prompt([], []), ready=3)]
    assert prepared(jobs, prepare) == [(jobs[0], 7), (jobs[2], 3)]
    assert jobs[1].future.exception(0).message == "too long"


def test_of_a_failing_batch_each_is_asked_alone_and_the_answered_are_left() -> None:
    jobs = [Job(Prompt([], [])) for _ in range(3)]
    calls: list[list[int]] = []

    def answer(asked: Sequence[tuple[Job, int]]) -> None:
        calls.append([ready for _, ready in asked])
        if len(asked) > 1:
            asked[0][0].future.set_result(SAID)
            raise MemoryError("full")
        if asked[0][1] == 1:
            raise ValueError("odd")
        asked[0][0].future.set_result(SAID)

    together_or_alone([(job, place) for place, job in enumerate(jobs)], answer)
    assert calls == [[0, 1, 2], [1], [2]]
    assert jobs[0].future.result(0) is jobs[2].future.result(0) is SAID
    assert "odd" in jobs[1].future.exception(0).message


def test_who_has_left_is_not_asked_alone() -> None:
    jobs = [Job(Prompt([], [])) for _ in range(2)]
    calls: list[int] = []

    def answer(asked: Sequence[tuple[Job, int]]) -> None:
        calls.append(len(asked))
        if len(asked) > 1:
            jobs[0].cancelled = True
            raise MemoryError("full")
        asked[0][0].future.set_result(SAID)

    together_or_alone([(job, 1) for job in jobs], answer)
    assert calls == [2, 1] and jobs[1].future.result(0) is SAID
    assert jobs[0].future.exception(0).code == "cancelled"


def test_one_alone_is_not_tried_twice() -> None:
    job = Job(Prompt([], []))
    calls: list[int] = []

    def answer(asked: Sequence[tuple[Job, int]]) -> None:
        calls.append(1)
        raise MemoryError("full")

    together_or_alone([(job, 1)], answer)
    assert calls == [1] and job.future.exception(0).status == 500


@pytest.mark.parametrize("options", [(), ("red", "blue")])
def test_a_pass_too_large_for_the_memory_is_done_in_parts(
    packed: PackedModel, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    asked = [prompt(text, seed, options) for seed, text in enumerate(TEXTS)]
    right = [ask(packed, one)[0].text for one in asked]
    plain = packed._run

    def small(x: object, layout: object, *rest: object) -> object:
        if len(layout.sizes) > 1:  # type: ignore[attr-defined]
            raise torch.OutOfMemoryError("out of memory")
        return plain(x, layout, *rest)

    monkeypatch.setattr(packed, "_run", small)
    packed.forget()
    assert [answer.text for answer in ask(packed, *asked)] == right


def test_what_was_begun_is_not_asked_again(
    packed: PackedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    plain, calls = packed._decoder.step, []

    def failing(*rest: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("out of memory")
        return plain(*rest)

    monkeypatch.setattr(packed._decoder, "step", failing)
    jobs = [
        Job(prompt(TEXTS[0], image, min_tokens=6), on_token=lambda _, text: heard.append(text))
        for image in (1, 2)
    ]
    quiet = Job(prompt(TEXTS[0], 3, min_tokens=6))
    packed.answer([*jobs, quiet])
    assert [job.future.exception(0).status for job in jobs] == [500, 500]
    assert len(heard) == 4  # two tokens of each
    assert quiet.future.result(0).tokens  # nobody had heard of it: it is asked again


def test_a_merged_copy_that_does_not_fit_costs_nobody_an_answer(
    packed: PackedModel,
    make_adapter: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tried = []

    def full(name: str) -> None:
        tried.append(name)
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    packed.load_adapter("a", make_adapter(tmp_path / "a"))
    monkeypatch.setattr(packed._adapters, "_merges", True)
    monkeypatch.setattr(packed._adapters, "merge", full)
    try:
        for _ in range(12):
            assert ask(packed, prompt(TEXTS[0]), adapter="a")[0].tokens
    finally:
        packed.unload_adapter("a")
        packed._adapters._recent.clear()
    assert tried == ["a"]  # and not again
    assert "served beside the base model" in caplog.text
