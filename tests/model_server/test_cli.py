"""`python -m model_server` as a process: it opens its port, serves, and stops when told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from model_server.__main__ import main
from model_server.families.packed import PackedModel
from tests.model_server.answering import ask, prompt
from tests.model_server.conftest import messages, picture, wait_ready

pytestmark = pytest.mark.model


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "model_server", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


def wait_open(url: str, process: subprocess.Popen[str]) -> None:
    for _ in range(3000):
        try:
            assert httpx.get(f"{url}/health").status_code == 200
            return
        except httpx.ConnectError:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.01)
    raise AssertionError("the port did not open")


def test_serves_until_terminated_and_answers_what_it_began(
    tiny_folder: Path, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    adapter = make_adapter(tmp_path / "run")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = start(
        *("--model", str(tiny_folder), "--port", str(port), "--threads", "1", "--name", "mine"),
        *("--lora-modules", f"mine:0001={adapter}"),
    )
    try:
        wait_open(url, process)
        wait_ready(url)
        names = [entry["id"] for entry in httpx.get(f"{url}/v1/models").json()["data"]]
        assert names == ["mine", "mine:0001"]
        answers = {
            httpx.post(
                f"{url}/v1/chat/completions",
                json={"model": name, "messages": messages("a", picture(0)), "max_tokens": 8},
            ).json()["choices"][0]["message"]["content"]
            for name in names
        }
        assert len(answers) == 2
        long = {"model": "mine", "max_tokens": 440, "min_tokens": 440}
        body = {"messages": messages("a", picture(0)), **long}
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(httpx.post, f"{url}/v1/chat/completions", json=body, timeout=60)
            prepared = 'stage_seconds_count{stage="prepare"} 3.0'
            while prepared not in httpx.get(f"{url}/metrics").text:
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            assert asked.result().json()["usage"]["completion_tokens"] == 440
        assert process.wait(20) == 0
        assert "Traceback" not in process.stdout.read()
    finally:
        process.kill()
        process.wait()


def test_a_model_on_two_devices_answers_as_one(
    tiny_folder: Path, packed: PackedModel, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    adapter = make_adapter(tmp_path / "run")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = start(
        *("--model", str(tiny_folder), "--port", str(port), "--threads", "1", "--name", "tiny"),
        *("--device", "cpu,cpu", "--dtype", "float32"),
    )

    def said(seed: int, model: str = "tiny") -> str:
        asked = {"model": model, "messages": messages("a", picture(seed)), "max_tokens": 8}
        answer = httpx.post(f"{url}/v1/chat/completions", json=asked, timeout=60).json()
        return str(answer["choices"][0]["message"]["content"])

    try:
        wait_open(url, process)
        wait_ready(url)
        body = {"lora_name": "tiny:1", "lora_path": str(adapter)}
        loaded = httpx.post(f"{url}/v1/load_lora_adapter", json=body, timeout=60)
        assert loaded.status_code == 200, loaded.text
        packed.load_adapter("tiny:1", adapter)
        seeds = [*range(6), *range(6)]
        with ThreadPoolExecutor(len(seeds)) as pool:
            for model, name in (("tiny", None), ("tiny:1", "tiny:1")):
                expected = [ask(packed, prompt("a", seed), adapter=name)[0].text for seed in seeds]
                assert list(pool.map(said, seeds, [model] * len(seeds))) == expected
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        packed.unload_adapter("tiny:1")
        process.kill()
        process.wait()


def test_a_model_that_cannot_be_loaded_ends_the_server(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    process = start("--model", str(tmp_path), "--port", str(free_port()))
    try:
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert f"{tmp_path} cannot be loaded" in out and "Traceback" not in out


def test_wrong_arguments_end_in_one_line(
    tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(tmp_path / "nothing")]) == 2
    assert main(["--model", str(tiny_folder), "--lora-modules", "nameless"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "No model at" in lines[0] and "NAME=PATH" in lines[1]
