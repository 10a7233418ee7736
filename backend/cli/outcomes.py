"""`regiontext outcomes`: what people made of suggestions, in the terminal."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from backend.cli.running import DEFAULT_DATA_DIR, DataDir, errors_in_one_line, output

if TYPE_CHECKING:
    from backend.jobs.agreement import FieldAgreement
    from backend.jobs.effect import Effect
    from regiontext.metrics.two_samples import Average, Gap

__all__ = ["outcomes"]


def outcomes(
    project: Annotated[
        int | None,
        typer.Option(
            "--project", "-p", min=1, help="Number of the project in Label Studio; by default all."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Every figure, as JSON.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Compare assisted regions with those of control: time, edits, over-reliance; and annotators with each other.

    Of all projects, unless one is named. What the figures mean is in docs/metrics.md.
    """
    with errors_in_one_line():
        from backend.jobs.agreement import agreements, answers_given
        from backend.jobs.effect import compare_arms, measured
        from backend.store import open_store
        from backend.up.settings import find_settings

        store = open_store(find_settings(data_dir).database_url)
        try:
            effect = compare_arms(measured(store, project))
            agreed = agreements(answers_given(store, project))
        finally:
            store.close()
        console = output()
        if as_json:
            told = effect.to_dict() | {"agreement": [asdict(field) for field in agreed]}
            console.print_json(json.dumps(told))
            return
        if not any(arm.fields for arm in effect.arms):
            console.print("no outcomes yet: regiontext collect reads what people submitted")
            return
        console.print(_arms(effect))
        _say(console, effect)
        if agreed:
            console.print(_agreement(agreed))


def _arms(effect: Effect) -> Table:
    table = Table("", *(arm.arm for arm in effect.arms))
    table.add_row("regions", *(str(arm.regions) for arm in effect.arms))
    for outcome in ("accepted", "edited", "cleared", "added", "discarded"):
        if any(arm.outcomes.get(outcome) for arm in effect.arms):
            table.add_row(outcome, *(str(arm.outcomes.get(outcome, 0)) for arm in effect.arms))
    rows = {
        "seconds per region": ("seconds", ".1f"),
        "characters per text": ("edit_chars", ".1f"),
        "left untouched": ("untouched", ".2f"),
    }
    for name, (figure, form) in rows.items():
        table.add_row(name, *(_shown(getattr(arm, figure), form) for arm in effect.arms))
    return table


def _shown(figure: Average | None, form: str) -> str:
    if figure is None:
        return "–"
    return f"{figure.value:{form}} ({figure.low:{form}} to {figure.high:{form}})"


def _say(console: Any, effect: Effect) -> None:
    gaps: tuple[tuple[str, Gap | None], ...] = (
        ("seconds per region", effect.seconds),
        ("characters per text", effect.edit_chars),
    )
    for name, gap in gaps:
        if gap is not None:
            clear = "" if gap.clear else "; may be luck"
            console.print(
                f"assist less control, {name}: {gap.value:+.1f} ({gap.low:+.1f} to {gap.high:+.1f}{clear})",
                highlight=False,
            )
    traps = effect.over_reliance
    if traps.traps:
        console.print(
            f"traps: {traps.accepted} of {traps.traps} were left standing", highlight=False
        )
        for annotation, region in traps.standing:
            console.print(f"  annotation {annotation}, region {region}", highlight=False)


def _agreement(agreed: list[FieldAgreement]) -> Table:
    table = Table("several annotators", "regions", "Krippendorff's alpha", "CIDEr-D", "overlap")
    for field in agreed:
        text = field.text
        table.add_row(
            field.field,
            str(field.things),
            "–" if field.alpha is None else f"{field.alpha:.2f}",
            "–" if text is None else f"{text.cider_d:.2f}",
            "–" if text is None else f"{text.overlap:.2f}",
        )
    return table
