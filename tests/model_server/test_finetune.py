"""Fine-tuning: it learns, changes only the adapter, resumes exactly, and leaves nothing half-done."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model_server.engine import Job
from model_server.errors import TrainingError
from model_server.families import open_model
from model_server.families.chat import question_turn
from model_server.families.checkpoint import load_checkpoint
from model_server.folder import find_model, lineage
from model_server.jobs import Picture, Prompt, Sampling
from model_server.training.finetune import main
from model_server.training.finetune_batches import Batches, answer_loss
from model_server.training.finetune_data import Item, read_items
from model_server.training.finetune_loop import finetune
from model_server.training.finetune_lora import add_lora, target_layers
from model_server.training.finetune_settings import Settings
from tests.model_server.conftest import build_tiny, picture

pytestmark = pytest.mark.model
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "puce": (255, 255, 255)}
PROMPT = "What is the colour of the object?"
QUICK = Settings(steps=30, batch_size=8, lr=1e-2, rank=4, targets="all")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain pictures and their colours, one of which the model has no word for."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    with (folder / "train.jsonl").open("w") as lines:
        for index, (word, rgb) in enumerate(list(COLOURS.items()) * 3):
            name = f"images/{index}.png"
            Image.new("RGB", (40 + index, 40), rgb).save(folder / name)
            options = list(COLOURS) if index % 2 else []
            record = {"id": str(index), "images": [name], "prompt": PROMPT, "answer": word}
            lines.write(json.dumps({**record, "options": options, "source": "human"}) + "\n")
    return folder


def test_learns_a_new_word_and_serves_it(tiny_folder: Path, data: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, float, str, float | None]] = []
    out = tmp_path / "0001"
    run = finetune(
        find_model(tiny_folder), data, out, Settings(**{**vars(QUICK), "steps": 60}),
        progress=lambda *line: told.append(line),
    )  # fmt: skip
    assert told[-1][:2] == (60, 60) and told[0][0] == 5
    assert told[-1][2] < 0.2 * run["loss"]["first"]
    assert told[-1][3:] == ("corrections", 0.0) and told[0][4] > 0
    assert json.loads((out / "run.json").read_text()) == run
    assert run["counts"] == {"new": 12, "wrong_before": 12, "replay": 0, "pairs": 0}
    assert run["memory"]["needed"] < run["memory"]["free"]
    assert sorted(path.name for path in out.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "run.json",
    ]
    told_of = lineage(out)["run"]
    assert {**told_of, "steps": 60, "targets": "all"} == told_of and None not in told_of.values()
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        tiny_folder
    )
    assert not (tmp_path / "0001.partial").exists()

    model = open_model(find_model(tiny_folder), device="cpu", dtype="float32")
    model.load_adapter("tiny:0001", out)
    for options in ((), tuple(COLOURS)):
        jobs = [
            Job(
                Prompt(
                    question_turn(1, PROMPT),
                    [Picture.of(item_image(rgb))],
                    options,
                    Sampling(max_tokens=6),
                ),
                adapter="tiny:0001",
            )
            for rgb in COLOURS.values()
        ]
        model.answer(jobs)
        assert [job.future.result(0).text for job in jobs] == list(COLOURS)


def item_image(rgb: tuple[int, int, int]):
    from PIL import Image

    return Image.new("RGB", (37, 41), rgb)


@pytest.mark.parametrize("targets", ["language", "all"])
def test_only_adapter_parameters_learn(tiny_folder: Path, targets: str) -> None:
    model, _ = load_checkpoint(find_model(tiny_folder))
    layers = target_layers(model, targets)
    assert any("vision_tower" in name for name in layers) == (targets == "all")
    assert any("multi_modal_projector" in name for name in layers)
    assert any("language_model" in name for name in layers)
    assert not any("lm_head" in name for name in layers)
    lora = add_lora(model, rank=2, targets=targets, base="x")
    learning = [name for name, weight in lora.named_parameters() if weight.requires_grad]
    assert len(learning) == 2 * len(layers)
    assert all(".lora_A." in name or ".lora_B." in name for name in learning)


def test_every_adapter_weight_moves_and_the_base_stays(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    base = find_model(tiny_folder)
    before = load_file(tiny_folder / "model.safetensors")
    finetune(base, data, tmp_path / "a", QUICK)
    after = load_file(tiny_folder / "model.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)
    weights = load_file(tmp_path / "a" / "adapter_model.safetensors")
    still = [key for key, value in weights.items() if "lora_B" in key and not value.any()]
    # Nothing after the last vision layer that is read from can learn.
    assert not [key for key in still if "vision_tower" not in key]


def test_kept_features_give_the_same_loss_and_gradients(tiny_folder: Path, data: Path) -> None:
    items = read_items(data)
    items.append(Item((picture(1), picture(2)), "Two objects?", "large"))
    results = []
    for frozen in (False, True):
        model, processor = load_checkpoint(find_model(tiny_folder), attn_implementation="eager")
        batches = Batches(model, processor, items, frozen_tower=frozen)
        assert batches.keeps_features == frozen
        torch.manual_seed(0)
        lora = add_lora(model, rank=4, targets="language", base="x")
        inputs, labels = batches.batch([0, 5, 12, 3])
        loss = answer_loss(model(**inputs).logits, labels)
        loss.backward()
        grads = [weight.grad for weight in lora.parameters() if weight.grad is not None]
        results.append((loss.detach(), torch.cat([grad.flatten() for grad in grads])))
    (loss, grads), (kept_loss, kept_grads) = results
    assert kept_loss == pytest.approx(float(loss), rel=1e-3)
    assert torch.allclose(grads, kept_grads, rtol=0.05, atol=0.01 * float(grads.abs().max()))


def test_loss_covers_the_answer_and_its_end_only(tiny_folder: Path) -> None:
    model, processor = load_checkpoint(find_model(tiny_folder))
    items = [Item((picture(0),), PROMPT, "red"), Item((picture(1),), "a", "a small red star")]
    inputs, labels = Batches(model, processor, items, frozen_tower=False).batch([0, 1])
    tokenizer = processor.tokenizer
    said = [tokenizer.decode([i for i in row.tolist() if i >= 0]) for row in labels]
    assert said == ["red<|end|>", "a small red star<|end|>"]
    with torch.no_grad():
        loss = answer_loss(model(**inputs).logits, labels)
        logprobs = []
        for index, item in enumerate(items):  # alone, unpadded, all logits
            own, own_labels = Batches(model, processor, [item], frozen_tower=False).batch([0])
            own.pop("logits_to_keep")
            every = torch.log_softmax(model(**own).logits[0], dim=-1)
            width = own_labels.shape[1]
            ids = own["input_ids"][0, -width:]
            assert ids.tolist() == labels[index][labels[index] >= 0].tolist()
            logprobs += every[-width - 1 : -1].gather(1, ids[:, None]).flatten().tolist()
    assert float(loss) == pytest.approx(-sum(logprobs) / len(logprobs), rel=1e-4)


def test_same_seed_same_adapter_even_if_killed(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    def command(out: Path, *more: str) -> list[str]:
        return [
            *(sys.executable, "-m", "model_server.training.finetune", "--base", str(tiny_folder)),
            *("--data", str(data), "--out", str(out), "--steps", "40", "--batch-size", "6"),
            *("--lr", "5e-3", "--rank", "2", "--threads", "1", "--save-every", "10", *more),
        ]

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = Settings(steps=40, batch_size=6, lr=5e-3, rank=2)
    finetune(find_model(tiny_folder), data, whole, settings)
    process = subprocess.Popen(command(killed), stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if json.loads(line)["step"] >= 25:
            os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    steps = sorted(path.name for path in (tmp_path / "killed.partial").glob("step-*"))
    assert steps[:2] == ["step-0000010", "step-0000020"] or len(steps) == 2
    resumed = subprocess.run(
        command(killed, "--resume"), capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in resumed.stdout.splitlines()]
    assert lines[0]["step"] > 20 and lines[-1]["step"] == lines[-1]["of"] == 40
    assert all(line["loss"] > 0 for line in lines)
    one, other = (load_file(path / "adapter_model.safetensors") for path in (whole, killed))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert json.loads((killed / "run.json").read_text())["resumed_at"] >= 20


def test_on_a_leash_it_ends_well_while_its_starter_lives_and_at_once_when_it_is_gone(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    def start(out: Path, steps: int) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-m", "model_server.training.finetune", "--base", str(tiny_folder)),
            *("--data", str(data), "--out", str(out), "--steps", str(steps), "--rank", "2"),
            *("--batch-size", "2", "--threads", "1", "--leashed"),
        ]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    well, gone = tmp_path / "well", tmp_path / "gone"
    process = start(well, 3)
    assert process.wait(120) == 0 and (well / "adapter_model.safetensors").exists()
    process = start(gone, 100_000)
    assert process.stdout is not None and process.stdin is not None
    process.stdout.readline()
    process.stdin.close()
    assert process.wait(30) == 1 and not gone.exists()


def test_a_half_written_checkpoint_is_not_resumed_from(
    tiny_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, out, partial = find_model(tiny_folder), tmp_path / "out", tmp_path / "out.partial"

    def die(step: int, *rest: object) -> None:
        if step == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(base, data, out, QUICK, save_every=10, progress=die)
    half = partial / "writing-0000020"
    half.mkdir()
    (half / "adapter_config.json").write_text("{")
    # One that looks whole and is not: its mark says so.
    shutil.copytree(partial / "step-0000010", partial / "step-0000015")
    (partial / "step-0000015" / "optimizer.pt").write_bytes(b"half")
    with pytest.raises(TrainingError, match=r"another lr \(0\.01, now 0\.5\)"):
        finetune(base, data, out, Settings(**{**vars(QUICK), "lr": 0.5}), resume=True)
    run = finetune(base, data, out, QUICK, save_every=10, resume=True)
    assert run["resumed_at"] == 10 and not partial.exists()
    with pytest.raises(TrainingError, match="exists already"):
        finetune(base, data, out, QUICK)
    partial.mkdir()  # Killed between the result's rename and the removal of the work.
    assert finetune(base, data, out, QUICK, resume=True) == run
    assert not partial.exists()
    with pytest.raises(TrainingError, match="exists already"):
        finetune(base, data, out, Settings(**{**vars(QUICK), "lr": 0.5}), resume=True)


def test_replays_the_world_the_model_names(data: Path, tmp_path: Path) -> None:
    world = {"name": "blocks", "version": 1, "seed": 0}
    folder = build_tiny(tmp_path / "worldly", world=world, view=None, finetune={"rank": 2})
    assert (
        main(
            [
                "--base",
                str(folder),
                "--data",
                str(data),
                "--out",
                str(tmp_path / "o"),
                "--steps",
                "3",
            ]
        )
        == 0
    )
    run = json.loads((tmp_path / "o" / "run.json").read_text())
    each = Settings().batch_size * Settings().replay / (1 + Settings().replay)
    assert run["counts"]["new"] == 12 and run["counts"]["replay"] == 3 * each
    assert run["settings"]["rank"] == 2 and run["settings"]["lr"] == 0.3 / 32


BAD = {
    "{": "line 2: not valid JSON",
    "[]": "line 2: expected an object",
    '{"prompt": "a", "images": ["images/0.png"]}': "line 2: 'answer'",
    '{"prompt": "", "answer": "a", "images": ["images/0.png"]}': "line 2: 'prompt'",
    '{"prompt": "a", "answer": "a", "images": []}': "line 2: 'images'",
    '{"prompt": "a", "answer": "a", "images": ["images/99.png"]}': "line 2: the image 'images/99.png' is missing",
    '{"prompt": "a", "answer": "a", "images": ["../x.png"]}': "lies outside",
    '{"prompt": "a", "answer": "c", "options": ["a"], "images": ["images/0.png"]}': "'c' is not one of",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_records_are_named(data: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.png").write_bytes((data / "images" / "0.png").read_bytes())
    good = '{"prompt": "a", "answer": "a", "images": ["images/0.png"]}'
    (tmp_path / "train.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(TrainingError) as told:
        read_items(tmp_path)
    assert BAD[line] in str(told.value)


def test_wrong_arguments_end_in_one_line(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--base", str(tiny_folder), "--out", str(tmp_path / "o")]
    assert main([*where, "--data", str(tmp_path)]) == 2
    (tmp_path / "train.jsonl").write_text("")
    assert main([*where, "--data", str(tmp_path)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert any("train.jsonl is missing" in line for line in err)
    assert any("holds no records" in line for line in err)
