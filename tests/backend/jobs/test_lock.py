from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.jobs.lock import exclusive, is_held
from backend.jobs.outcomes import pair_ends, pair_key

HOLD = """
import asyncio, sys, time
from pathlib import Path
from backend.jobs.lock import exclusive
async def hold():
    async with exclusive(Path(sys.argv[1]), "job"):
        print("held", flush=True)
        time.sleep(60)
asyncio.run(hold())
"""


async def take(folder: Path, name: str, told: list[str]) -> None:
    async with exclusive(folder, name, waiting=told.append):
        return


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert not is_held(tmp_path, "nothing")
    assert process.stdout.readline() == "held\n"
    assert is_held(tmp_path, "job")
    told: list[str] = []
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(take(tmp_path, "job", told), 0.6))
    assert told == [f"waiting for another job (process {process.pid})"]
    asyncio.run(asyncio.wait_for(take(tmp_path, "another", told), 5))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    asyncio.run(asyncio.wait_for(take(tmp_path, "job", told), 5))


def test_the_lock_is_let_go_after_an_error(tmp_path: Path) -> None:
    async def fail() -> None:
        async with exclusive(tmp_path, "job"):
            raise ValueError

    with pytest.raises(ValueError):
        asyncio.run(fail())
    asyncio.run(asyncio.wait_for(take(tmp_path, "job", []), 5))


@given(st.text(), st.text(), st.sets(st.text()))
def test_pairs_of_any_ids_are_found_again(a: str, b: str, others: set[str]) -> None:
    ends = pair_ends(pair_key(a, b), {a, b})
    assert ends is not None
    assert pair_key(*ends) == pair_key(a, b)
    if ">" not in a + b:
        assert pair_ends(pair_key(a, b), {a, b, *others}) == (a, b)
        assert pair_ends(pair_key(a, b), others - {a, b}) is None
