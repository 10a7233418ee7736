"""Preference pairs: the loss is the published one, the chosen answer wins, and a kill changes nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from model_server.errors import TrainingError
from model_server.families.checkpoint import load_checkpoint
from model_server.folder import find_model
from model_server.training.finetune_batches import Batches, answer_logprobs, answer_loss
from model_server.training.finetune_data import Item, read_pairs
from model_server.training.finetune_loop import finetune
from model_server.training.finetune_preferences import preference_losses
from model_server.training.finetune_settings import Settings

pytestmark = pytest.mark.model
PROMPT = "What is the colour of the object?"
SETTINGS = Settings(steps=8, batch_size=8, lr=2e-2, rank=4, targets="all", dpo=24.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture that is red or green as often, so that only the preference decides."""
    folder = tmp_path_factory.mktemp("pairs")
    Image.new("RGB", (40, 40), (200, 30, 30)).save(folder / "a.png")
    lines = [
        {"images": ["a.png"], "prompt": PROMPT, "answer": word} for word in ("red", "green") * 4
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pair = {"images": ["a.png"], "prompt": PROMPT, "chosen": "green", "rejected": "red"}
    (folder / "preferences.jsonl").write_text((json.dumps(pair) + "\n") * 4)
    return folder


def test_the_loss_is_minus_log_sigmoid_of_the_scaled_margin() -> None:
    now, before = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -2.0])
    other, other_before = torch.tensor([-3.0, -1.0]), torch.tensor([-2.0, -1.0])
    losses = preference_losses(now, other, before, other_before, 0.5)
    expected = [-math.log(1 / (1 + math.exp(-0.5 * (0.5 + 1.0)))), math.log(2)]
    assert losses.tolist() == pytest.approx(expected)


def test_logprobs_of_answers_are_their_losses_summed(tiny_folder: Path) -> None:
    model, processor = load_checkpoint(find_model(tiny_folder))
    image = Image.new("RGB", (30, 30), "blue")
    items = [Item((image,), PROMPT, "a small red star"), Item((image,), PROMPT, "red")]
    batches = Batches(model, processor, items, frozen_tower=False)
    with torch.no_grad():
        inputs, labels = batches.batch([0, 1])
        found = answer_logprobs(model(**inputs).logits, labels)
        for index in (0, 1):
            inputs, labels = batches.batch([index])
            mean = answer_loss(model(**inputs).logits, labels)
            assert float(found[index]) == pytest.approx(-float(mean) * labels.numel(), rel=1e-3)


def test_the_chosen_answer_wins_and_a_kill_changes_nothing(
    tiny_folder: Path, data: Path, tmp_path: Path
) -> None:
    base, phases = find_model(tiny_folder), []

    def tell(step: int, of: int, loss: float, phase: str, eta_s: float | None) -> None:
        phases.append(phase)

    run = finetune(base, data, tmp_path / "whole", SETTINGS, progress=tell)
    assert run["counts"]["pairs"] == 4 and set(phases) == {"corrections", "preferences"}
    assert run["loss"]["last"] < run["loss"]["first"]

    def die(step: int, *rest: object) -> None:
        if step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(base, data, tmp_path / "killed", SETTINGS, save_every=6, progress=die)
    again = finetune(base, data, tmp_path / "killed", SETTINGS, save_every=6, resume=True)
    assert again["resumed_at"] == 18
    one, other = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "killed")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert _prefers_green(tiny_folder, tmp_path / "whole")


def _prefers_green(folder: Path, adapter: Path) -> bool:
    from peft import PeftModel

    model, processor = load_checkpoint(find_model(folder))
    image = Image.new("RGB", (40, 40), (200, 30, 30))
    items = [Item((image,), PROMPT, word) for word in ("green", "red")]
    tuned = PeftModel.from_pretrained(model, str(adapter)).eval()
    inputs, labels = Batches(model, processor, items, frozen_tower=False).batch([0, 1])
    with torch.no_grad():
        green, red = answer_logprobs(tuned(**inputs).logits, labels).tolist()
    return green > red + 0.2


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ({"chosen": "red", "rejected": "red"}, "are both 'red'"),
        ({"chosen": "red"}, "'rejected' must be a text"),
    ],
)
def test_bad_pairs_are_named(tmp_path: Path, pair: dict[str, str], words: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    line = {"images": ["a.png"], "prompt": PROMPT, **pair}
    (tmp_path / "preferences.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(TrainingError, match=words):
        read_pairs(tmp_path)
    assert read_pairs(tmp_path / "elsewhere") == []
