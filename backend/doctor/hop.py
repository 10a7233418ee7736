"""A hop is one thing that has to work; a chain of hops is examined in order, past those that fail.

Knows nothing of what the hops are about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import httpx
from sqlalchemy.exc import SQLAlchemyError

from backend.errors import BackendError
from regiontext.errors import RegiontextError

__all__ = ["Finding", "Hop", "Said", "State", "examine"]

State = Literal["works", "doubtful", "wrong", "unknown"]


@dataclass(frozen=True)
class Said:
    """What a hop found, in one line; `state` is "doubtful" if it works but somebody should look."""

    words: str
    state: State = "works"


@dataclass(frozen=True)
class Hop:
    """One check. It returns what it found, and raises what is wrong, with the fix in the message.

    needs: names of hops without which this one can tell nothing.
    """

    name: str
    check: Callable[[], Said]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What became of a hop."""

    name: str
    state: State
    words: str


def examine(hops: Iterable[Hop]) -> Iterator[Finding]:
    """Check each hop in order, as asked for; what is needed and not there makes a hop unknown, not wrong."""
    broken: set[str] = set()
    for hop in hops:
        missing = [name for name in hop.needs if name in broken]
        not_tried = Finding(hop.name, "unknown", f"not tried: needs {' and '.join(missing)}")
        found = not_tried if missing else _examined(hop)
        if found.state in ("wrong", "unknown"):
            broken.add(hop.name)
        yield found


def _examined(hop: Hop) -> Finding:
    try:
        said = hop.check()
    except (BackendError, RegiontextError) as error:
        return Finding(hop.name, "wrong", _line(error))
    except (httpx.HTTPError, SQLAlchemyError, OSError) as error:
        return Finding(hop.name, "wrong", f"{type(error).__name__}: {_line(error)}")
    return Finding(hop.name, said.state, said.words)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
