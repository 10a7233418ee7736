"""Several processes share a run: together they do what one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from model_server.errors import TrainingError
from model_server.folder import find_model
from model_server.training import finetune_memory, finetune_ranks
from model_server.training.finetune import _TUNED
from model_server.training.finetune_loop import finetune
from model_server.training.finetune_memory import check_memory, needed_bytes
from model_server.training.finetune_ranks import Ranks, restart_on_all
from model_server.training.finetune_settings import Settings

pytestmark = pytest.mark.model


def test_parts_make_the_whole_batch() -> None:
    batch = [5, 3, 8, 1, 9]
    parts = [Ranks(rank, 2).part(batch) for rank in range(2)]
    assert sorted(index for part in parts for index in part) == sorted(batch)
    assert not any(Ranks(rank, 2).is_extra(batch) for rank in range(2))
    # A process without an example repeats one, which counts for nothing.
    assert Ranks(2, 3).part([4, 7]) == [4] and Ranks(2, 3).is_extra([4, 7])


def test_two_processes_learn_what_one_learns(tiny_folder: Path, tmp_path: Path) -> None:
    lines = []
    for index, colour in enumerate(("red", "green", "blue", "white") * 2):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{index}.png")
        lines.append({"images": [f"{index}.png"], "prompt": "Colour?", "answer": colour})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = Settings(steps=8, batch_size=5, lr=1e-3, rank=2, dtype="float32")
    finetune(find_model(tiny_folder), tmp_path, tmp_path / "one", settings, device="cpu")
    one = load_file(tmp_path / "one" / "adapter_model.safetensors")
    two = _train_in_two(tiny_folder, tmp_path)
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert torch.allclose(value, two[key], atol=2e-4), key
    run = json.loads((tmp_path / "two" / "run.json").read_text())
    assert run["processes"] == 2


def _train_in_two(base: Path, data: Path) -> dict[str, torch.Tensor]:
    out = data / "two"
    command = [
        *(
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node=2",
            "-m",
        ),
        *("model_server.training.finetune", "--base", str(base), "--data", str(data)),
        *("--out", str(out), "--steps", "8", "--batch-size", "5", "--lr", "1e-3", "--rank", "2"),
        *("--threads", "1", "--dtype", "float32", "--device", "cpu"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | _TUNED | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [line["step"] for line in told] == [5, 8]  # only one of them tells
    return load_file(out / "adapter_model.safetensors")


def test_all_gpus_are_used_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(finetune_ranks.os, "execv", lambda path, args: started.append(args))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    restart_on_all("some.module", "cuda:1", ["--a"])
    assert started == []
    restart_on_all("some.module", "auto", ["--a"])
    assert "--nproc_per_node=4" in started[0] and started[0][-3:] == ["-m", "some.module", "--a"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    restart_on_all("some.module", "auto", ["--a"])
    assert len(started) == 1


def test_memory_grows_with_what_is_trained() -> None:
    size = {"layers": 4, "width": 256, "heads": 4, "batch": 16, "tokens": 128}
    least = needed_bytes(0, 1_000_000, **size)
    assert least > 16_000_000
    # 2 x 4 layers of 128 x 16 x 256 x (34 + 5 x 4 x 128 / 256) bytes, besides the adapter.
    assert least - 16_000_000 == 2 * 4 * 128 * 16 * 256 * 44
    assert needed_bytes(5, 1_000_000, **size) == least + 5


def test_what_does_not_fit_is_refused_with_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(nn.Module):
        class config:
            num_hidden_layers, hidden_size, num_attention_heads = 2, 64, 2

            @classmethod
            def get_text_config(cls) -> type:
                return cls

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 64)

    class Memory:
        available = 10**8

    monkeypatch.setattr(finetune_memory.psutil, "virtual_memory", Memory)
    with pytest.raises(TrainingError, match=r"0\.1 GB are free on cpu beside the model"):
        check_memory(Small(), torch.device("cpu"), batch=4)
    Memory.available = 10**10
    assert check_memory(Small(), torch.device("cpu"), batch=4)["free"] == 10**10
