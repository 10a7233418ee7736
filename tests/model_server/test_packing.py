"""What a packed token sees: its own row's prefix and prompt up to itself, and its own branch."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model_server.decoder import Segment
from model_server.decoding import segments
from model_server.packing import alike, plan

TOKENS = st.lists(st.integers(3, 99), min_size=1, max_size=4)
ROWS = st.lists(
    st.tuples(st.integers(0, 3), TOKENS, st.lists(TOKENS, max_size=3)), min_size=1, max_size=4
)


@given(ROWS)
def test_every_token_sees_what_it_would_see_alone(rows: list) -> None:
    before = [row[0] for row in rows]
    made = plan([row[1] for row in rows], [row[2] for row in rows], before=before)
    width, at = max(before), 0
    slots = made.mask.shape[1]
    for row, (seen, prompt, branches) in enumerate(rows):
        for number, part in enumerate([prompt, *branches]):
            for place, token in enumerate(part):
                assert (made.ids[at], made.owners[at]) == (token, row)
                after = 0 if number == 0 else len(prompt)
                assert made.positions[at] == seen + after + place
                slot = at if made.slots is None else made.slots[at]
                columns = np.flatnonzero(made.mask.reshape(-1, made.mask.shape[2])[slot])
                prefix = list(range(width - seen, width))
                own = made.columns[(made.owners == row)]
                begin = at - int(np.flatnonzero(made.owners == row)[0])
                whole = list(own[: len(prompt)]) if number else list(own[: place + 1])
                branch = list(own[begin - place : begin + 1]) if number else []
                assert list(columns) == [*prefix, *whole, *branch]
                at += 1
        last = made.last[row]
        assert made.ids[last] == prompt[-1] and made.positions[last] == seen + len(prompt) - 1
        assert [made.ids[start] for start in made.branches[row]] == [b[0] for b in branches]
        shown = np.flatnonzero(made.shown[row])
        assert list(shown) == [*range(width - seen, width), *range(width, width + len(prompt))]
        told = [place for place in made.read if made.owners[place] == row]
        assert told == list(range(last, at))  # what a prompt and its branches predict
    assert at == len(made.ids) == sum(made.sizes)
    assert len(made.read) == len(rows) + sum(len(branch) for row in rows for branch in row[2])
    if made.slots is not None:  # no slot is without anything to look at
        assert made.mask.any(axis=2).all()
    else:
        assert set(made.sizes) == {slots}


def test_stretches_of_one_adapter_are_one() -> None:
    names = [None, "a", "a", "b", None, "b"]
    assert segments(names) == [Segment("a", 1, 3), Segment("b", 3, 4), Segment("b", 5, 6)]
    assert segments(names[:4], [2, 3, 4, 5]) == [Segment("a", 2, 9), Segment("b", 9, 14)]
    assert segments([None, None]) == []


@given(TOKENS, TOKENS, TOKENS)
def test_alike_is_the_longest_common_beginning(
    begin: list[int], one: list[int], other: list[int]
) -> None:
    count = alike(begin + one, begin + other)
    assert count >= len(begin)
    assert (begin + one)[:count] == (begin + other)[:count]
    assert (begin + one)[: count + 1] != (begin + other)[: count + 1] or one == other
