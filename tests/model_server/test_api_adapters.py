"""Adapters over HTTP: they come and go under load, and one that is unfit leaves the model alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from safetensors.torch import load_file, save_file

from tests.model_server.conftest import RUN, ask

pytestmark = pytest.mark.model


def test_adapters_come_and_go(
    client: openai.OpenAI, server: str, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    def post(action: str, **body: str) -> httpx.Response:
        return httpx.post(f"{server}/v1/{action}_lora_adapter", json=body, timeout=30)

    base = ask(client).choices[0].message.content
    for number in (1, 2):
        path = make_adapter(tmp_path / f"run{number}", seed=number)
        if number == 2:
            (path / "run.json").write_text(json.dumps(RUN))
        assert post("load", lora_name=f"tiny:000{number}", lora_path=str(path)).status_code == 200
    entries = {entry.id: entry for entry in client.models.list().data}
    assert entries["tiny:0001"].parent == "tiny"
    assert entries["tiny:0001"].root == str(tmp_path / "run1")
    lineage = [entries[f"tiny:000{number}"].lineage for number in (1, 2)]
    assert lineage[0]["rank"] == 4 and len(lineage[0]["sha256"]) == 64
    assert lineage[0]["sha256"] != lineage[1]["sha256"]
    assert lineage[0]["base"] == "tiny" and lineage[0]["run"] is None
    assert lineage[1]["run"]["counts"] == RUN["counts"]
    assert lineage[1]["run"]["data_sha256"] == RUN["data_sha256"]

    names = ["tiny", "tiny:0001", "tiny:0002"]
    alone = [ask(client, model=name).choices[0].message.content for name in names]
    assert alone[0] == base and len(set(alone)) == 3
    with ThreadPoolExecutor(12) as pool:
        mixed = list(
            pool.map(lambda name: ask(client, model=name).choices[0].message.content, names * 4)
        )
    assert mixed == alone * 4

    again = post("load", lora_name="tiny:0001", lora_path=str(tmp_path / "run1"))
    assert again.status_code == 400 and again.json()["error"]["code"] == "adapter_exists"
    unknown = post("unload", lora_name="other")
    assert unknown.status_code == 404 and unknown.json()["error"]["param"] == "lora_name"

    with ThreadPoolExecutor(12) as pool:  # unloading fails none of those in flight
        started = threading.Barrier(12)

        def in_flight(number: int) -> str | None:
            if number == 11:
                started.wait()
                assert post("unload", lora_name="tiny:0001").status_code == 200
                return None
            started.wait()
            try:
                return ask(client, model="tiny:0001").choices[0].message.content
            except openai.NotFoundError:
                return None

        answers = {answer for answer in pool.map(in_flight, range(12)) if answer is not None}
    assert answers <= {alone[1]}
    with pytest.raises(openai.NotFoundError, match="tiny:0001"):
        ask(client, model="tiny:0001")
    assert ask(client, model="tiny:0002").choices[0].message.content == alone[2]
    assert post("unload", lora_name="tiny:0002").status_code == 200
    assert ask(client).choices[0].message.content == base
    reloaded = post("load", lora_name="tiny:0001", lora_path=str(tmp_path / "run1"))
    assert reloaded.status_code == 200
    assert ask(client, model="tiny:0001").choices[0].message.content == alone[1]
    assert post("unload", lora_name="tiny:0001").status_code == 200


def test_adapters_come_and_go_while_others_are_asked(
    client: openai.OpenAI, server: str, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_adapter(tmp_path / "other", seed=9)
    right = ask(client, seed=1).choices[0].message.content
    stop = threading.Event()

    def asking(_: int) -> set[str]:
        answers = set()
        while not stop.is_set():
            answers.add(ask(client, seed=1).choices[0].message.content)
        return answers

    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(asking, range(4))
        try:
            for number in range(4):
                for action in ("load", "unload"):
                    body = {"lora_name": f"t{number}", "lora_path": str(path)}
                    if action == "unload":
                        assert ask(client, seed=1, model=f"t{number}").choices
                        del body["lora_path"]
                    url = f"{server}/v1/{action}_lora_adapter"
                    assert httpx.post(url, json=body, timeout=30).status_code == 200
        finally:
            stop.set()
        assert set().union(*answers) == {right}


def test_bad_adapters_leave_the_model_alone(
    client: openai.OpenAI, server: str, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base = ask(client).choices[0].message.content
    good = make_adapter(tmp_path / "good")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "adapter_config.json").write_text((good / "adapter_config.json").read_text())
    (pickled / "adapter_model.bin").write_bytes(b"x")
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "adapter_config.json").write_text((good / "adapter_config.json").read_text())
    (torn / "adapter_model.safetensors").write_bytes(b"x" * 50)
    for path in (tmp_path / "missing", pickled, torn):
        response = httpx.post(
            f"{server}/v1/load_lora_adapter",
            json={"lora_name": "bad", "lora_path": str(path)},
            timeout=30,
        )
        error = response.json()["error"]
        assert response.status_code == 400 and error["param"] == "lora_path", error
        assert path.name in error["message"]
    assert [entry.id for entry in client.models.list().data] == ["tiny"]
    assert ask(client).choices[0].message.content == base


@pytest.mark.parametrize("whole", [True, False], ids=["with its base", "alone"])
def test_an_adapter_of_the_output_layer_is_refused(
    client: openai.OpenAI,
    server: str,
    make_adapter: Callable[..., Path],
    tmp_path: Path,
    whole: bool,
) -> None:
    path = make_adapter(tmp_path / "head", layers=r".*language_model.*q_proj|lm_head")
    file = path / "adapter_model.safetensors"
    weights = {key: one for key, one in load_file(file).items() if whole or "base_layer" not in key}
    assert any("lm_head" in key for key in weights)
    assert whole == any("base_layer" in key for key in weights)
    save_file(weights, file)
    body = {"lora_name": "head", "lora_path": str(path)}
    response = httpx.post(f"{server}/v1/load_lora_adapter", json=body, timeout=30)
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["type"], error["param"]) == ("invalid_request_error", "lora_path")
    assert error["code"] == "invalid_adapter"
    assert "'lm_head'" in error["message"]
    served = error["message"].partition("here is ")[2].partition(".")[0].split(", ")
    assert {"q_proj", "down_proj", "fc1", "linear_1"} <= set(served) and "lm_head" not in served
    assert [entry.id for entry in client.models.list().data] == ["tiny"]
