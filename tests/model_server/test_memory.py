"""What was read of pictures, within its bytes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from model_server.families.memory import Memory, Read

IDS = st.lists(st.integers(0, 3), min_size=1, max_size=6)


def read(tokens: int, words: tuple[int, ...] = ()) -> Read:
    """Ten bytes a token."""
    return Read(torch.zeros(1, 2, 1, tokens + len(words), 5, dtype=torch.uint8), words)


@given(IDS, IDS)
def test_what_is_known_of_a_question_is_its_beginning(words: list[int], ids: list[int]) -> None:
    own = read(3, tuple(words))
    known = own.known(ids)
    assert 0 <= known < len(ids) and ids[:known] == words[:known]
    assert own.up_to(known).shape[3] == 3 + known
    if known + 1 < len(ids) and known < len(words):
        assert ids[known] != words[known]


def test_the_oldest_gives_way_and_what_is_asked_for_is_new() -> None:
    memory = Memory(100)
    for name in (b"a", b"b", b"c"):
        memory.keep((None, name), read(3))
    assert memory.get((None, b"a")) is not None
    memory.keep((None, b"d"), read(3))
    assert memory.held() == [(None, b"c"), (None, b"a"), (None, b"d")]
    assert memory.get((None, b"b")) is None
    assert memory.nbytes == 90


def test_what_is_larger_than_all_room_is_not_kept() -> None:
    memory = Memory(100)
    memory.keep((None, b"a"), read(2, (1, 2)))
    memory.keep((None, b"b"), read(11))
    assert (memory.held(), memory.nbytes) == ([(None, b"a")], 40)
    memory.keep((None, b"a"), read(5))  # read anew
    assert (memory.held(), memory.nbytes) == ([(None, b"a")], 50)


def test_an_adapter_is_forgotten_alone() -> None:
    memory = Memory(100)
    memory.keep((None, b"a"), read(3))
    memory.keep(("x", b"a"), read(4))
    memory.forget_adapter("x")
    assert memory.held() == [(None, b"a")]
    assert memory.nbytes == 30
    memory.forget()
    assert (memory.held(), memory.nbytes) == ([], 0)
