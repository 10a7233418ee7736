"""How pretraining runs: its settings, and the learning rate over a run. Knows nothing of torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from model_server.worlds.drawing import bundled_view
from regiontext.marks.view import View

__all__ = ["Settings", "learning_rate"]


@dataclass(frozen=True)
class Settings:
    """How to train; all that a resumed run must agree on.

    steps: the length of the run, and with it the schedule; the same seed then gives the same weights on the same
    machine if one worker renders and nothing interrupts. 0: `minutes` of training time instead.
    start: a model folder to go on from, "" for a fresh model; its readouts then learn alone for `readout_steps`.
    scope, evidence: of the view that is trained, otherwise the bundled one. vary: show a crop's model wider views, too.
    tower_share: the part of the run in which the vision tower learns alone. pairs, tower_pairs: the share of pictures
    with two marks. reuse, tower_reuse: how often each picture is used. pool: how many are kept to draw from.
    dense_weight, reading_weight: of the losses of dense labels and of what the decoder is told inside (`readings`).
    extra: pictures a step besides those that are asked about, of which the tower learns the dense labels only.
    text_tokens: room for questions and answers about one picture. comparing: how many times likelier than others the
    turns that compare are to get into it. width: of a smaller or larger model, for comparisons;
    0 is the bundled one's.
    """

    steps: int = 0
    minutes: float = 45.0
    start: str = ""
    readout_steps: int = 100
    scope: str = "each"
    evidence: int = 1
    vary: int = 1
    tower_share: float = 0.33
    seed: int = 0
    tower_batch: int = 64
    batch: int = 32
    extra: int = 0
    text_tokens: int = 136
    comparing: float = 1.0
    tower_pairs: float = 0.3
    pairs: float = 0.4
    matrix_lr: float = 3e-3
    other_lr: float = 1.5e-3
    dense_weight: float = 0.3
    reading_weight: float = 0.1
    tower_reuse: float = 2.5
    reuse: float = 1.25
    pool: int = 30000
    vocabulary: int = 1024
    workers: int = 1
    width: int = 0

    def __post_init__(self) -> None:
        """Refuse what no run can mean."""
        if self.comparing <= 0:
            raise ValueError(
                f"comparing is {self.comparing}; it must be above 0, 1 for no preference"
            )

    @property
    def view(self) -> View:
        """The view that is trained."""
        return replace(bundled_view(), scope=self.scope, evidence=bool(self.evidence))

    def done(self, step: int, spent_s: float) -> float:
        """How much of the run is over after `step` steps and `spent_s` seconds of training: 0..1 and beyond."""
        return step / self.steps if self.steps else spent_s / (self.minutes * 60)


def learning_rate(
    done: float, *, start: float = 0.0, warm: float = 0.02, hold: float = 0.45
) -> float:
    """The share of the full rate at `done` of the run (0..1): a ramp from `start`, a plateau, a fall to 0."""
    ramp = min(1.0, (done - start) / warm + 0.02)
    fall = 1.0 if done < hold else max(0.0, (1 - done) / (1 - hold))
    return ramp * fall
