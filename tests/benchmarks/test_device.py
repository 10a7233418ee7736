"""The benchmark of a device runs where there is no GPU, and says why it does not where it cannot."""

from __future__ import annotations

import json
import math

import pytest
import torch

from benchmarks import device
from benchmarks.device_models import LAYOUTS, Refused, build, check_room, pick
from benchmarks.device_sides import Question, Sides
from tests.model_server.conftest import picture

pytestmark = pytest.mark.model
CPU = torch.device("cpu")
TINY = ["--shape", "tiny", "--device", "cpu", "--dtype", "float32", "--quick"]
GIB = 2**30


@pytest.fixture(scope="module")
def sides() -> Sides:
    return Sides(*build("tiny", CPU, torch.float32))


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, dict]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("count", [1, 5])
def test_both_sides_say_the_same_of_what_they_see(sides: Sides, count: int) -> None:
    words = ("Describe the object.", "What is its colour, and what is the size of the object?")
    asked = [Question(picture(seed, (80, 60)), words[seed % 2]) for seed in range(count)]
    ours, theirs = sides.ours(asked, 12)(), sides.generate(asked, 12)()
    assert ours == theirs and {len(ids) for ids in ours} == {12}
    assert len({tuple(ids) for ids in ours}) == count


def test_a_step_reads_the_decoder_once_and_what_is_kept_of_every_row(sides: Sides) -> None:
    shape = LAYOUTS["tiny"]
    width, hidden, layers = shape.text_width, shape.text_hidden, shape.text_layers
    layer = 4 * width**2 + 3 * width * hidden + 2 * width
    weights = layers * layer + width + shape.words * width
    assert sides.step_bytes(0) == 4 * weights
    assert sides.step_bytes(10) - sides.step_bytes(0) == 4 * 10 * 2 * layers * width


def test_it_runs_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    device.main(TINY)
    claims = told(capsys)
    rates = {f"rps_{what}" for what in ("1", "8", "32", "shared", "closed")}
    assert claims.keys() >= rates | {f"{key}_ratio" for key in rates}
    assert claims.keys() >= {"latency_ms", "copy_gb_s", "peak_gib_process"}
    assert claims.keys() >= {
        f"{key}_{n}" for key in ("tokens_s", "bandwidth_share") for n in (1, 32)
    }
    assert all(math.isfinite(claim["value"]) and claim["value"] > 0 for claim in claims.values())
    assert {claim["bar"] for claim in claims.values()} == {None}
    assert claims["same_answers"]["value"] == 1


def test_batches_that_do_not_fit_are_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "row_bytes", lambda config, dtype: GIB)
    monkeypatch.setattr(device, "free_bytes", lambda where: 9 * GIB)
    device.main(TINY)
    printed = capsys.readouterr().out
    assert "left out, 32 questions do not fit the memory: rps_32" in printed
    claims = json.loads(printed.splitlines()[-1])
    assert "rps_8" in claims and "tokens_s_8" in claims
    assert not {"rps_32", "rps_shared", "rps_closed"} & claims.keys()


def test_the_large_one_needs_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"7b needs 13\.9 GiB .* on a GPU\. .* CPU, with .* free"):
        device.main(["--shape", "7b", "--device", "cpu"])
    assert capsys.readouterr().out == ""


def test_a_gpu_that_is_too_small_is_told_by_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.device_models.free_bytes", lambda where: 8 * GIB)
    cuda = torch.device("cuda")
    with pytest.raises(Refused, match=r"7b needs 14\.0 GiB .*; 8\.0 GiB are free on cuda"):
        check_room("7b", 13 * GIB, GIB, cuda)
    check_room("7b", 6 * GIB, GIB, cuda)


def test_mixed_is_nothing_that_generate_can_run() -> None:
    with pytest.raises(Refused, match="plain generate"):
        pick("cpu", "mixed", "tiny")
    assert pick("cpu", "auto", "tiny") == (CPU, torch.float32)
    assert pick("cpu", "auto", "7b") == (CPU, torch.bfloat16)
