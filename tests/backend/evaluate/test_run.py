"""Whole runs: a model and a judge behind real HTTP, small folders of the benchmarks' layout."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from typer.testing import CliRunner

from backend.cli import app
from backend.errors import ModelUnavailable
from backend.evaluate import regionbench
from backend.evaluate.judge import Judge
from backend.evaluate.run import Evaluation, evaluate_vip
from backend.jobs.progress import quiet
from backend.model_client import ModelClient
from regiontext.marks.view import View
from tests.backend.evaluate.folders import dlc_folder, vip_folder
from tests.backend.jobs.fakes import serving
from tests.backend.stubs import StubModel, pictures


@dataclass
class StubJudge:
    """A judge whose verdict `say` makes of what it is asked."""

    say: Callable[[str], str]
    refuse: list[int] = field(default_factory=list)
    newer: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)

    def app(self) -> FastAPI:
        server = FastAPI()

        @server.post("/v1/chat/completions")
        async def complete(request: Request) -> JSONResponse:
            body = await request.json()
            self.keys.add(request.headers.get("authorization"))
            if self.newer and "max_tokens" in body:
                message = "Unsupported parameter: use 'max_completion_tokens' instead."
                return JSONResponse({"error": {"message": message}}, 400)
            if self.refuse:
                return JSONResponse({"error": {"message": "not now"}}, self.refuse.pop(0))
            self.asked.append(body)
            words = body["messages"][0]["content"]
            return JSONResponse({"choices": [{"message": {"content": self.say(words)}}]})

        return server


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("REGIONTEXT_", "LABEL_STUDIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model() -> Iterator[tuple[StubModel, str]]:
    stub = StubModel(text="a small dog")
    with serving(stub.app()) as url:
        yield stub, f"{url}/v1"


@pytest.fixture
def stage(model: tuple[StubModel, str]) -> Iterator[Callable[..., Any]]:
    """`stage(judge)` serves a judge and returns what runs `regiontext evaluate` against both."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(judge: StubJudge) -> Callable[..., Any]:
            url = stack.enter_context(serving(judge.app()))

            def run(*arguments: str) -> Any:
                given = ("--model-url", model[1], "--judge-url", f"{url}/v1")
                return CliRunner().invoke(
                    app,
                    ["evaluate", *arguments, *given, "--judge-model", "wise"],
                    env={
                        "COLUMNS": "200",
                        "NO_COLOR": "1",
                        "REGIONTEXT_JUDGE_API_KEY": "secret-key",
                    },
                )

            return run

        yield start


def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        Path("regiontext-data", "evaluate", name, "result.json").read_text()
    )
    return found


def vip_verdict(words: str) -> str:
    row = words.splitlines()[-1] if " | " in words.splitlines()[-1] else words.splitlines()[-2]
    return "1.0" if "a dog <OR>" in row and "a small dog" in row else "0.2"


def test_vip_bench(tmp_path: Path, stage: Callable[..., Any], model: tuple[StubModel, str]) -> None:
    judge = StubJudge(vip_verdict)
    run = stage(judge)
    folder = str(vip_folder(tmp_path / "vip"))
    found = run("--benchmark", "vip-bench", folder, "--runs", "2")
    assert found.exit_code == 0, found.output
    told = result("vip-bench-bbox-stub-model")
    assert (told["total"], told["runs"]) == (60.0, [60.0, 60.0])
    assert told["capabilities"]["rec"] == {"score": 100.0, "n": 1}
    assert told["run"]["judge"] == "wise"
    assert "60.0" in found.output
    assert judge.keys == {"Bearer secret-key"}
    assert {body["model"] for body in judge.asked} == {"wise"}
    assert {(body["max_tokens"], body["temperature"]) for body in judge.asked} == {(3, 0.0)}
    assert len(judge.asked) == 4
    # The picture goes out as it is, with the split's own words.
    asked = model[0].asked
    assert sorted(model[0].prompts)[1] == "What is within the red rectangle?"
    assert [picture.size for picture in pictures(asked[0])] == [(60, 40)]
    assert (
        "secret-key"
        not in Path("regiontext-data/evaluate/vip-bench-bbox-stub-model/answers.jsonl").read_text()
    )

    again = run("--benchmark", "vip-bench", folder, "--runs", "2")
    assert again.exit_code == 0
    assert (len(judge.asked), len(asked)) == (4, 2)
    run("--benchmark", "vip-bench", folder, "--runs", "2", "--split", "human")
    assert (len(judge.asked), len(asked)) == (8, 4)


def test_a_judge_that_gives_no_number_is_asked_again_and_then_it_is_nothing(
    tmp_path: Path, stage: Callable[..., Any]
) -> None:
    judge = StubJudge(
        lambda words: "0.5" if words.endswith("only: ") and "a puppy |" in words else "well"
    )
    run = stage(judge)
    found = run("--benchmark", "vip-bench", str(vip_folder(tmp_path / "vip")), "--concurrency", "1")
    assert found.exit_code == 0, found.output
    told = result("vip-bench-bbox-stub-model")
    assert told["capabilities"]["rec"]["score"] == 50.0
    assert told["capabilities"]["ocr"]["score"] == 0.0
    # Two tries for the first item, all five for the second, ever warmer.
    assert [body["temperature"] for body in judge.asked[2:]] == [0.0, 0.0, 0.5, 1.0, 1.5]


def dlc_verdict(words: str) -> str:
    """Recognises both; knows the colour of the first and the shape of the second."""
    answers = {
        "Could what": "Yes",
        "colour": "A. Red",
        "door": "It has a door",
        "shape": "B",
        "wet": "I cannot tell",
    }
    asked = words.split("Question:")[1]
    return next(answer for key, answer in answers.items() if key in asked)


def test_dlc_bench(tmp_path: Path, stage: Callable[..., Any], model: tuple[StubModel, str]) -> None:
    judge = StubJudge(dlc_verdict, newer=True)
    run = stage(judge)
    found = run("--benchmark", "dlc-bench", str(dlc_folder(tmp_path / "dlc")))
    assert found.exit_code == 0, found.output
    told = result("dlc-bench-stub-model")
    assert told["positive"]["value"] == pytest.approx((1 + 0.5) / 2)
    assert told["negative"]["value"] == pytest.approx((-1 + 0) / 2)
    assert told["average"] == pytest.approx(0.125)
    assert "average of both" in found.output
    # The region is drawn in the view that the server announces (a crop), and named by its mark.
    assert all("red rectangle in detail." in prompt for prompt in model[0].prompts)
    assert len(judge.asked) == 6
    assert all(body["max_completion_tokens"] == 300 for body in judge.asked)


def test_a_run_goes_on_where_it_stopped(
    tmp_path: Path, stage: Callable[..., Any], model: tuple[StubModel, str]
) -> None:
    folder = str(dlc_folder(tmp_path / "dlc"))
    judge = StubJudge(dlc_verdict)
    run = stage(judge)
    assert run("--benchmark", "dlc-bench", folder).exit_code == 0
    kept = Path("regiontext-data/evaluate/dlc-bench-stub-model/answers.jsonl")
    whole = kept.read_text()
    lines = whole.splitlines(keepends=True)
    # As a kill leaves it: some lines, the last one cut off.
    kept.write_text("".join(lines[:5]) + lines[5][:20])
    asked = len(judge.asked)
    assert run("--benchmark", "dlc-bench", folder).exit_code == 0
    assert len(judge.asked) == asked + len(lines) - 5
    assert len(model[0].asked) == 2
    read = [json.loads(line) for line in kept.read_text().splitlines() if line.endswith("}")]
    assert {entry["key"] for entry in read} == {json.loads(line)["key"] for line in lines}


def test_a_judge_that_refuses_is_told_and_the_answers_stay(
    tmp_path: Path, stage: Callable[..., Any], model: tuple[StubModel, str]
) -> None:
    judge = StubJudge(vip_verdict, refuse=[401])
    run = stage(judge)
    folder = str(vip_folder(tmp_path / "vip"))
    found = run("--benchmark", "vip-bench", folder, "--concurrency", "1")
    assert found.exit_code == 1
    assert re.search(r"error: the judge at .* refuses \(HTTP 401\)", found.output)
    assert run("--benchmark", "vip-bench", folder).exit_code == 0
    assert len(model[0].asked) == 2


def test_answers_made_elsewhere_are_judged_alone(
    tmp_path: Path, stage: Callable[..., Any], model: tuple[StubModel, str]
) -> None:
    judge = StubJudge(vip_verdict)
    run = stage(judge)
    folder = str(vip_folder(tmp_path / "vip"))
    given = tmp_path / "mine.json"
    given.write_text(json.dumps({"v1_0": "a small dog", "v1_1": "no idea"}))
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("THE PUBLISHED TABLE\n")
    found = run(
        "--benchmark", "vip-bench", folder, "--answers", str(given), "--judge-prompt", str(prompt)
    )
    assert found.exit_code == 0, found.output
    assert result("vip-bench-bbox-mine")["total"] == 60.0
    assert model[0].asked == []
    assert all(
        body["messages"][0]["content"].startswith("THE PUBLISHED TABLE\n") for body in judge.asked
    )
    given.write_text(json.dumps({"v1_0": "a small dog"}))
    found = run("--benchmark", "vip-bench", folder, "--answers", str(given))
    assert "have none for v1_1" in found.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--benchmark", "vip-bench", "."], "is no ViP-Bench: it has no vip-bench-meta-data.json"),
        (["--benchmark", "dlc-bench", "."], "is no DLC-Bench: it has no annotations.json"),
        (["--benchmark", "dlc-bench"], "where is it?"),
        (["--benchmark", "vip-bench", ".", "--model", "other"], "does not serve 'other'"),
    ],
)
def test_what_is_wrong_is_one_line(
    stage: Callable[..., Any], arguments: list[str], words: str
) -> None:
    found = stage(StubJudge(vip_verdict))(*arguments)
    assert found.exit_code == 1
    assert words in " ".join(found.output.split())
    assert "Traceback" not in found.output


def test_a_judge_is_needed(tmp_path: Path, model: tuple[StubModel, str]) -> None:
    found = CliRunner().invoke(
        app, ["evaluate", "-b", "vip-bench", str(tmp_path), "--model-url", model[1]]
    )
    assert found.exit_code == 1
    assert "needs a judge: --judge-url" in " ".join(found.output.split())


def test_regionbench_is_a_process_of_its_own(
    tmp_path: Path,
    stage: Callable[..., Any],
    model: tuple[StubModel, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "stand_in.py").write_text(
        "import json, os, sys\n"
        "at = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
        "told = {'at': at, 'key': os.environ.get('REGIONTEXT_MODEL_API_KEY')}\n"
        "open(at['--json'], 'w').write(json.dumps(told))\n"
        "sys.exit(int(at['--regions']) == 13)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("REGIONTEXT_MODEL_API_KEY", "model-key")
    monkeypatch.setenv("REGIONTEXT_VIEW", '{"scope": "both"}')
    defaults = dict(regionbench.put_regionbench.__kwdefaults__ or {}) | {"module": "stand_in"}
    monkeypatch.setattr(regionbench.put_regionbench, "__kwdefaults__", defaults)
    run = stage(StubJudge(vip_verdict))
    found = run("--benchmark", "regionbench", "--regions", "7")
    assert found.exit_code == 0, found.output
    told = json.loads(Path("regiontext-data/evaluate/regionbench-stub-model.json").read_text())
    assert told["at"]["--url"] == model[1].removesuffix("/v1")
    assert (told["at"]["--model"], told["at"]["--regions"]) == ("stub-model", "7")
    assert told["key"] == "model-key"
    assert json.loads(told["at"]["--view"])["scope"] == "both"
    assert "--key" not in told["at"]
    found = run("--regions", "13")
    assert found.exit_code == 1
    assert "ended with status 1" in found.output


def test_the_module_that_is_started_is_there() -> None:
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", regionbench.MODULE, "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert {"--url", "--model", "--regions", "--json"} <= set(re.findall(r"--\w+", done.stdout))


def test_a_model_that_is_loading_is_waited_for(
    tmp_path: Path, model: tuple[StubModel, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub, url = model
    monkeypatch.setattr("backend.evaluate.run._PAUSE_S", 0.01)
    refused = []

    def say(words: str, options: list[str]) -> str:
        if len(refused) < 3:
            refused.append(words)
            raise HTTPException(503, "loading")
        return "a small dog"

    stub.say = say

    async def go(patience_s: float) -> dict[str, Any]:
        run = Evaluation(
            vip_folder(tmp_path / f"vip{patience_s}"), tmp_path / f"out{patience_s}", "stub-model",
            View(), patience_s=patience_s,
        )  # fmt: skip
        with serving(StubJudge(vip_verdict).app()) as judge:
            async with ModelClient(url) as client, Judge(f"{judge}/v1", "wise") as asked:
                return await evaluate_vip(run, "bbox", client, asked, quiet)

    with pytest.raises(ModelUnavailable):
        asyncio.run(go(0))
    refused.clear()
    assert asyncio.run(go(20))["total"] == 60.0
    assert len(refused) == 3
