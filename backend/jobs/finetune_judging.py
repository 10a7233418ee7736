"""Asks champion and challenger of a fine-tuning run, and writes down what both said and what came of it.

Knows the models by their names over HTTP, and the run's folder; decides nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backend.assistant import Assistant
from backend.errors import BackendError
from backend.jobs.compare import Compared, compare
from backend.jobs.finetune_report import FinetuneOptions, FinetuneReport
from backend.jobs.records import LEARNT_FROM
from backend.jobs.runs import Chosen
from backend.jobs.slices import known_words
from backend.jobs.studio import Studio
from backend.serving import Served
from regiontext.labelstudio.config import LabelingConfig
from regiontext.records.manifest import write_manifest

__all__ = ["ask_both", "counts_of", "write_down"]


async def ask_both(
    assistant: Assistant,
    studio: Studio,
    configs: Mapping[int, LabelingConfig],
    chosen: Chosen,
    served: Served,
    challenger: str,
    adapter: Path,
    *,
    asked: Callable[[int], None],
    problem: Callable[[str], None],
) -> list[Compared]:
    """What `served` and the challenger, whose adapter is in the folder `adapter`, say about what `chosen` judges by.

    The challenger stays loaded, unless asking fails: raises BackendError. `asked` is called with how many records are
    done, `problem` with one line about each that is left out.
    """
    client, settings = assistant.model, assistant.settings
    await client.load_adapter(challenger, str(adapter))
    if served.adapter is not None and served.adapter_path is not None:
        await client.load_adapter(served.adapter, served.adapter_path)
    try:
        return await compare(
            client,
            studio,
            assistant.images,
            configs,
            [*chosen.judging, *chosen.guarding],
            guards={record.id for record in chosen.guarding},
            champion=served.model,
            challenger=challenger,
            view=served.view,
            max_tokens=settings.max_tokens,
            concurrency=settings.model_concurrency,
            asked=asked,
            problem=problem,
            known=known_words(chosen.training),
        )
    except BackendError:
        await client.unload_adapter(challenger)
        raise


def counts_of(compared: Sequence[Compared]) -> dict[str, Any]:
    """How many records there are, of how many images, by field and by arm."""
    return {
        "records": len(compared),
        "images": len({item.record.image_hash for item in compared}),
        "fields": dict(Counter(item.record.field for item in compared)),
        "arms": dict(Counter(item.record.arm for item in compared)),
    }


def write_down(
    report: FinetuneReport,
    compared: Sequence[Compared],
    projects: Mapping[int, LabelingConfig],
    root: str,
    options: FinetuneOptions,
) -> None:
    """Both models' answers and the manifest, into the run's folder. `root` is where the base model is."""
    lines = [json.dumps(item.to_dict(), ensure_ascii=False) for item in compared]
    text = "".join(f"{line}\n" for line in lines)
    (report.run_dir / "answers.jsonl").write_text(text, encoding="utf-8")
    write_manifest(
        report.run_dir,
        counts=report.counts,
        filters={"projects": sorted(projects), "arms": list(LEARNT_FROM)},
        extra={
            "kind": "run",
            "name": report.name,
            "base": root,
            "champion": report.champion,
            "options": asdict(options),
            "decision": report.decision.to_dict(),
            "promoted": report.promoted,
            "seconds": report.seconds,
            "config_hashes": {str(number): config.hash for number, config in projects.items()},
            "left_out": list(report.problems),
        },
    )
