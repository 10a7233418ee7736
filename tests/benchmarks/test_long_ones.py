"""The long benchmarks say how far they are, and count nothing that nobody knows."""

from __future__ import annotations

import pytest

from benchmarks.kills import Submitted
from benchmarks.progress import teller


def test_progress_is_told_first_last_and_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("benchmarks.progress.time.monotonic", lambda: now[0])
    tell = teller("kills")
    for done in range(1, 11):
        now[0] += 2.0
        tell(done, 10, "all well")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "kills: 1 of 10, 2 s, all well",
        "kills: 4 of 10, 8 s, all well",
        "kills: 7 of 10, 14 s, all well",
        "kills: 10 of 10, 20 s, all well",
    ]


def test_an_annotation_of_which_no_answer_came_is_not_compared() -> None:
    done = Submitted({1: "a car", 2: None, 3: "a tree"})
    for id in (1, 2, 9):
        done.doubt(id)
    assert done.captions == {3: "a tree"} and done.unsure == 2
