"""Placeholder until the jobs' modules are there."""

import typer


def add_to(app: typer.Typer, *, panel: str) -> None:
    pass
