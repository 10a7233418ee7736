"""What a verdict rests on besides the scores: sane answers, the same ones however it is run, pictures to look at.

Fetches the pictures of some judged records again and keeps them in the run's folder. Knows the wire, the disk and the
trainer's command line; decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.assistant import Assistant
from backend.data_urls import data_url
from backend.jobs.compare import Compared
from backend.jobs.gate import Decision
from backend.jobs.parity import Asked, parity
from backend.jobs.pictures import pictures
from backend.jobs.sanity import strange_answers
from backend.jobs.showing import Shown, show
from backend.jobs.studio import Studio
from backend.report.verdict import Pair, verdict_page
from regiontext.errors import RegiontextError
from regiontext.labelstudio.config import LabelingConfig
from regiontext.marks.side_by_side import side_by_side
from regiontext.marks.view import View

__all__ = ["FOLDER", "PAGE", "Examined", "examine", "write_page"]

FOLDER, PAGE = "verdict", "verdict.html"
_SIDE_BY_SIDE = 24
_RUN_AGAIN = 12


@dataclass(frozen=True)
class Examined:
    """insane: what speaks against the challenger, one line each. pairs: what is shown side by side."""

    insane: tuple[str, ...]
    pairs: tuple[Pair, ...]


async def examine(
    assistant: Assistant,
    studio: Studio,
    configs: Mapping[int, LabelingConfig],
    compared: Sequence[Compared],
    *,
    champion: str,
    challenger: str,
    base: str,
    adapter: Path,
    view: View,
    run_dir: Path,
    problem: Callable[[str], None],
    module: str | None,
) -> Examined:
    """Look at a challenger's answers to what it was judged by.

    `base` and `adapter` are where the trainer finds them; `module` answers without a server (None: not checked).
    Raises ModelUnavailable if the server goes away.
    """
    insane = strange_answers(
        [item.record.text for item in compared],
        [item.champion for item in compared],
        [item.challenger for item in compared],
        closed=[item.record.kind == "closed" for item in compared],
    )
    chosen = _chosen(compared)
    shown: dict[str, Shown] = {}
    records = [item.record for item in chosen]
    async for image, group in pictures(
        studio, assistant.images, dict(configs), records, problem=problem
    ):
        for record in group:
            try:
                shown[record.id] = await asyncio.to_thread(show, record, image, view)
            except RegiontextError as fault:
                problem(f"record {record.id}: {fault}")
    folder = run_dir / FOLDER
    pairs = await asyncio.to_thread(_pairs, chosen, shown, folder)
    if module is not None:
        # Those that changed and those that did not, in turn, so that neither way of failing hides.
        some = [item for item in chosen if item.record.id in shown]
        some = some[:: max(1, len(some) // _RUN_AGAIN)][:_RUN_AGAIN]
        questions = [
            Asked(
                tuple(data_url(image) for image in shown[item.record.id].rendered.images),
                shown[item.record.id].prompt,
                item.record.options,
            )
            for item in some
        ]
        insane += await parity(
            assistant.model,
            questions,
            champion=champion,
            challenger=challenger,
            base=base,
            adapter=adapter,
            folder=folder / "parity",
            max_tokens=assistant.settings.max_tokens,
            module=module,
        )
    return Examined(tuple(insane), tuple(pairs))


def write_page(
    run_dir: Path, name: str, champion: str, decision: Decision, examined: Examined
) -> Path:
    """Write the verdict's page beside its pictures, whatever the verdict is; its path."""
    path = run_dir / PAGE
    path.write_text(verdict_page(name, champion, decision, examined.pairs), encoding="utf-8")
    return path


def _chosen(compared: Sequence[Compared]) -> list[Compared]:
    """The largest gains and losses in turn, then what did not change; each record once, in a stable order."""

    def change(item: Compared) -> float:
        return item.judged.challenger - item.judged.champion

    losses = sorted((i for i in compared if change(i) < 0), key=lambda i: (change(i), i.record.id))
    gains = sorted((i for i in compared if change(i) > 0), key=lambda i: (-change(i), i.record.id))
    same = sorted((i for i in compared if change(i) == 0), key=lambda i: i.record.id)
    third = _SIDE_BY_SIDE // 3
    first = [*losses[:third], *gains[:third]]
    rest = [*losses[third:], *gains[third:]]
    return [*first, *same[: _SIDE_BY_SIDE - len(first)], *rest][:_SIDE_BY_SIDE]


def _pairs(chosen: Sequence[Compared], shown: Mapping[str, Shown], folder: Path) -> list[Pair]:
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number, item in enumerate(chosen):
        seen = shown.get(item.record.id)
        name = None
        if seen is not None:
            name = f"{FOLDER}/{number:02d}.png"
            picture = side_by_side(seen.rendered.images)
            picture.save(folder / f"{number:02d}.png", format="PNG", optimize=True)
        pairs.append(
            Pair(
                picture=name,
                prompt=seen.prompt if seen else "",
                truth=item.record.text,
                champion=item.champion,
                challenger=item.challenger,
                scores=(item.judged.champion, item.judged.challenger),
                slices=(item.record.field, *item.record.labels, *item.judged.slices),
            )
        )
    return pairs
