"""Prints what a benchmark measured: a table for people, one JSON line for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

__all__ = ["Claim", "report"]


@dataclass(frozen=True)
class Claim:
    """One measured value; `bar` is what it must reach (None: reported only), at least or at most."""

    key: str
    value: float
    unit: str
    what: str
    bar: float | None = None
    at_most: bool = False

    @property
    def ok(self) -> bool:
        if self.bar is None:
            return True
        return self.value <= self.bar if self.at_most else self.value >= self.bar


def report(title: str, claims: list[Claim]) -> None:
    """Print the claims as a table, and as one JSON object on the last line."""
    table = Table("claim", "value", "bar", "", title=title)
    for claim in claims:
        sign = "" if claim.bar is None else ("≤ " if claim.at_most else "≥ ")
        bar = "–" if claim.bar is None else f"{sign}{claim.bar:g} {claim.unit}"
        table.add_row(
            f"{claim.key}: {claim.what}",
            f"{claim.value:.3g} {claim.unit}",
            bar,
            "ok" if claim.ok else "MISSED",
        )
    Console().print(table)
    print(
        json.dumps(
            {c.key: {"value": c.value, "unit": c.unit, "bar": c.bar, "ok": c.ok} for c in claims}
        )
    )
