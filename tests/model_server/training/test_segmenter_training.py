"""Training of the small segmenter: it learns, goes on where it stopped, and saves what the server loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_server.jobs import Picture
from model_server.segmenter import open_segmenter
from model_server.segmenter_small import SamShape
from model_server.training.segmenter import Settings, evaluate, train
from tests.model_server.conftest import picture

pytestmark = pytest.mark.model

TINY = SamShape(image=32, patch=8, width=32, layers=2, heads=2, window=4, decoder_hidden=32)


def run(work: Path, steps: int, **given: Any) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    settings = Settings(steps=steps, pictures=2, clicks=2, pool=4, **given)
    train(settings, work, work / "out", shape=TINY, report=lines.append)
    return lines


def test_it_learns_and_what_it_saves_is_served_and_measured(tmp_path: Path) -> None:
    lines = run(tmp_path, 140)
    losses = [line["loss"] for line in lines if "loss" in line]
    # Each is the mean of twenty steps with two pictures.
    assert len(losses) == 7 and np.mean(losses[4:]) < np.mean(losses[:4]) - 0.1
    assert lines[-1]["steps"] == 140
    segmenter = open_segmenter(str(tmp_path / "out"))
    masks = segmenter.segment(Picture.of(picture(1)), [(30, 20)], [1])
    assert len(masks) == 3 and all(np.isfinite(one.score) for one in masks)
    figures = evaluate(tmp_path / "out", objects=3)
    assert figures["objects"] >= 3 and 0 <= figures["mean_iou"] <= 1


def test_a_finished_run_is_not_trained_again_and_other_settings_are_refused(tmp_path: Path) -> None:
    run(tmp_path, 2)
    first = torch.load(tmp_path / "state.pt", weights_only=True)
    assert run(tmp_path, 2)[-1]["steps"] == 2
    again = torch.load(tmp_path / "state.pt", weights_only=True)
    name = "mask_decoder.iou_token.weight"
    assert torch.equal(first["modules"][0][name], again["modules"][0][name])
    with pytest.raises(ValueError, match="seed"):
        run(tmp_path, 2, seed=5)


def test_a_run_starts_from_another_model(tmp_path: Path) -> None:
    run(tmp_path / "one", 2)
    run(tmp_path / "two", 1, start=str(tmp_path / "one" / "out"), rate=0.0)
    states = [
        torch.load(tmp_path / name / "state.pt", weights_only=True)["modules"][0]
        for name in ("one", "two")
    ]
    name = "vision_encoder.neck.conv2.weight"
    assert torch.allclose(states[0][name], states[1][name], atol=1e-3)
