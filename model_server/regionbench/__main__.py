"""`python -m model_server.regionbench --url http://… --model NAME`: put RegionBench to a served model.

Prints tables; `--json` writes every figure. Needs no torch: the model answers over HTTP, greedily.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from model_server.regionbench.ask import ask_all, served_view
from model_server.regionbench.items import (
    AGREEING_KINDS,
    HELD_OUT_SEED,
    UNSEEN_KIND,
    Item,
    control_items,
    kind_items,
    pair_items,
    region_items,
)
from model_server.regionbench.score import figures
from regiontext.errors import RegiontextError
from regiontext.marks.view import View

__all__ = ["main", "measure", "questions"]


def questions(view: View, regions: int, *, seed: int = HELD_OUT_SEED) -> list[Item]:
    """All questions of a run about `regions` regions in `view`; the other suites are in proportion to it."""
    part = max(6, regions // 3)
    return [
        *region_items(view, regions, seed=seed),
        *region_items(
            view,
            part,
            seed=seed + 4,
            combinations="withheld",
            suite="withheld",
            asked=("caption", "attribute"),
        ),
        *pair_items(view, max(6, regions // 2), seed=seed),
        *control_items(view, part, seed=seed),
        *kind_items(view, part, (*AGREEING_KINDS, UNSEEN_KIND), seed=seed, suite="unseen_kind"),
        *kind_items(view, part, AGREEING_KINDS, seed=seed + 5, suite="agreement"),
    ]


def measure(
    url: str,
    model: str,
    *,
    regions: int,
    seed: int = HELD_OUT_SEED,
    view: View | None = None,
    key: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Ask a served model and return its figures, as `score.figures` does, with what was asked under "run".

    `view`: by default the one that the server announces, or the one in which the product shows regions to a model
    that announces none: the whole picture with a rectangle. `progress` is told how many of how
    many questions are answered. Raises ValueError for a model that is not served, httpx.HTTPError for a server that
    does not answer or refuses.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=300) as client:
        shown = view or served_view(client, model) or View()
        items = questions(shown, regions, seed=seed)
        done = 0

        def answered(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(done, len(items))

        said = ask_all(client, model, items, progress=answered)
    run = {"model": model, "view": shown.to_dict(), "regions": regions, "questions": len(items)}
    return {"run": run | {"seed": seed}} | figures(list(zip(items, said, strict=True)))


def _tables(told: dict[str, Any]) -> list[Table]:
    asked = Table("asked", "right", "n", title="RegionBench")
    for name, share in told["asked"].items():
        asked.add_row(name, f"{share['right']:.3f}", str(share["n"]))
    for name, share in told.get("withheld", {}).items():
        asked.add_row(f"withheld combinations: {name}", f"{share['right']:.3f}", str(share["n"]))
    slices = Table("captions by", "", "right", "n")
    for tag, shares in told["slices"].items():
        for name, share in shares.items():
            slices.add_row(tag, name, f"{share['right']:.3f}", str(share["n"]))
    controls = Table("control", "right", "by chance", "fits the marked object better", "n")
    for name in ("marked", "removed", "moved"):
        if name in told["controls"]:
            share = told["controls"][name]
            chance = f"{share['chance']:.3f}" if "chance" in share else ""
            controls.add_row(
                name, f"{share['right']:.3f}", chance, f"{share['follows']:.3f}", str(share["n"])
            )
    sure = Table("confidence", "ECE", "Brier", "AUROC", "ECE, temperature", "ECE, isotonic", "n")
    for name, signal in told.get("confidence", {}).items():
        numbers = [
            signal.get(key) for key in ("ece", "brier", "auroc", "ece_temperature", "ece_isotonic")
        ]
        shown = ["–" if number is None else f"{number:.3f}" for number in numbers]
        sure.add_row(name, *shown, str(signal["n"]))
    return [asked, slices, controls, sure]


def _view(text: str) -> View:
    try:
        return View.from_dict(json.loads(text))
    except (ValueError, TypeError, RegiontextError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m model_server.regionbench", description=__doc__)
    parser.add_argument("--url", required=True, help="of the model server, without /v1")
    parser.add_argument("--model", required=True, help="id of a served model or adapter")
    parser.add_argument("--regions", type=int, default=600, help="how many regions to ask about")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument(
        "--key",
        default=os.environ.get("REGIONTEXT_MODEL_API_KEY"),
        help="API key of the server (default: REGIONTEXT_MODEL_API_KEY)",
    )
    parser.add_argument(
        "--view",
        type=_view,
        metavar="JSON",
        help='how regions are shown, as in {"scope": "crop"}; default: what the server announces',
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    args = parser.parse_args(argv)
    console = Console()
    try:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("asking")
            told = measure(
                args.url,
                args.model,
                regions=args.regions,
                seed=args.seed,
                view=args.view,
                key=args.key,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except (ValueError, httpx.HTTPError) as error:
        print(f"regionbench: {error}", file=sys.stderr)
        return 2
    for table in _tables(told):
        console.print(table)
    if args.json is not None:
        args.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(told["claims"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
