"""A pretraining run that is killed in the middle goes on as if nothing had been."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from model_server.training import pretrain, stream  # noqa: E402
from model_server.training.settings import Settings  # noqa: E402
from tests.model_server.training.made import SHAPE  # noqa: E402

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

# Three steps of the tower alone, three of everything.
SETTINGS = Settings(
    steps=6, tower_share=0.5, tower_batch=2, batch=2, matrix_lr=1e-3, other_lr=1e-3, seed=4
)


@dataclass
class _Step:
    """A step that was taken: its learning rates, and copies of what it began with."""

    number: int
    tower: bool
    rates: list[float]
    modules: list[dict[str, Any]]
    optims: list[dict[str, Any]]


class _Killed(Exception):
    pass


class _Stream:
    """Pictures rendered in this process: to start another costs more than all the steps."""

    def __init__(self, tokenizer, view, shape, seed, *, pairs, vary, workers):
        del workers
        self._chunks = stream._chunks(tokenizer, view, shape, seed, pairs, vary, 16)

    def take(self):
        return next(self._chunks)

    def close(self):
        pass


class _Runs:
    """Runs of one small training, whose steps are watched and which can be killed before one of them."""

    def __init__(self, root, patch, tokenizer):
        self.root, self.steps, self.kill_before = root, [], None
        learn, runs = pretrain._Learner.learn, self

        def watched(self, items, extra, done, step, rng, *, tower):
            modules = deepcopy([module.state_dict() for module in self.modules])
            optims = deepcopy([optim.state_dict() for optim in self.optims])
            taken = _Step(step, tower, [], modules, optims)
            runs.steps.append(taken)
            if step == runs.kill_before:
                raise _Killed
            found = learn(self, items, extra, done, step, rng, tower=tower)
            taken.rates = [group["lr"] for optim in self.optims for group in optim.param_groups]
            return found

        patch.setattr(pretrain, "Shape", lambda: SHAPE)
        patch.setattr(pretrain, "Stream", _Stream)
        patch.setattr(pretrain, "world_tokenizer", lambda *_: tokenizer)
        patch.setattr(pretrain._Learner, "learn", watched)

    def train(self, name, *, kill_before=None):
        """Train until the end or the kill; returns the steps and the log."""
        self.steps, self.kill_before = [], kill_before
        lines: list[dict[str, Any]] = []
        folder = self.root / name
        call = (SETTINGS, folder / "work", folder / "model")
        try:
            pretrain.train(*call, report=lines.append, threads=1, save_every_s=0.0)
        except _Killed:
            assert not (folder / "model").exists()
        return self.steps, lines


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tokenizer):
    with pytest.MonkeyPatch.context() as patch:
        yield _Runs(tmp_path_factory.mktemp("runs"), patch, tokenizer)


@pytest.fixture(scope="module")
def whole(runs):
    return runs.train("whole")[0]


@pytest.fixture(scope="module", params=[2, 4], ids=["in the tower's stage", "in the joint stage"])
def killed(request, runs):
    """Which step a run was killed before, its steps until then, its steps afterwards, and their log."""
    name = f"killed before {request.param}"
    before, _ = runs.train(name, kill_before=request.param)
    return request.param, before, *runs.train(name)


def _same(one, other):
    """Whether two state dicts hold the same numbers."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def test_a_killed_run_goes_on_with_the_next_step_of_its_stage(killed, whole):
    number, before, after, lines = killed
    assert [step.tower for step in whole] == [True] * 3 + [False] * 3
    told = [(step.number, step.tower, step.rates) for step in [*before[:-1], *after]]
    assert told == [(step.number, step.tower, step.rates) for step in whole]
    assert after[0].number == number and lines[-1]["done"] and lines[-1]["step"] == 6


def test_weights_and_both_optimisers_are_as_they_were_left(killed):
    number, before, after, _ = killed
    left, found = before[-1], after[0]
    assert _same(found.modules, left.modules)
    assert _same(found.optims, left.optims)
    muon, adamw = (optim["state"] for optim in found.optims)
    assert muon and all(each["momentum_buffer"].any() for each in muon.values())
    assert max(int(each["step"]) for each in adamw.values()) == number
    assert any(each["exp_avg"].any() for each in adamw.values())


def test_the_time_spent_goes_on_with_the_run(runs):
    runs.train("slow", kill_before=5)
    file = runs.root / "slow" / "work" / "state.pt"
    state = torch.load(file, weights_only=True)
    torch.save(state | {"spent": 1000.0}, file)
    _, lines = runs.train("slow")
    assert lines[0]["spent_s"] == 1000 and lines[-1]["spent_s"] >= 1000


def test_what_was_learnt_after_the_last_saved_state_is_learnt_again(runs, monkeypatch):
    save = pretrain.save

    def seldom(path, settings, modules, optims, progress):
        if progress.step <= 2:
            save(path, settings, modules, optims, progress)

    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "save", seldom)
        before, _ = runs.train("unsaved", kill_before=4)
    after, _ = runs.train("unsaved")
    assert [step.number for step in after] == [2, 3, 4, 5]
    assert _same(after[0].modules, before[2].modules) and _same(after[0].optims, before[2].optims)
