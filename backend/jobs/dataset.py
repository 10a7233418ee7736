"""The folder that a training run reads: `train.jsonl`, one prompt and answer per line, `preferences.jsonl`, one prompt
with the chosen and the rejected answer per line, and their pictures.

Knows nothing of the trainer beyond this format, and nothing of Label Studio.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image

from backend.jobs.showing import Shown
from regiontext.records.manifest import write_manifest
from regiontext.records.record import Record

__all__ = ["PAIRS_NAME", "TRAIN_NAME", "TrainingSet"]

TRAIN_NAME = "train.jsonl"
PAIRS_NAME = "preferences.jsonl"


class TrainingSet:
    """Collects examples in a folder; `finish` writes the index and the manifest. Pictures are kept once each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[str] = []
        self._pairs: list[str] = []
        self._records: dict[str, Record] = {}
        (folder / "images").mkdir(parents=True)

    def add(self, record: Record, shown: Shown, *, preferred: bool = False) -> None:
        """One way to show a record, with the human's answer; `preferred` to what was suggested."""
        names = []
        for number, image in enumerate(shown.rendered.images):
            name = f"images/{shown.rendered.hash[:32]}-{number}.png"
            self._save(image, name)
            names.append(name)
        self._records[record.id] = record
        line = {
            "id": f"{record.id}#{len(self._lines)}",
            "images": names,
            "prompt": shown.prompt,
            "answer": record.text,
            "options": list(record.options),
            "suggested": _as_line(record),
            "source": "human",
        }
        self._lines.append(json.dumps(line, ensure_ascii=False))
        rejected = _as_line(record)
        if preferred and rejected and rejected != record.text:
            pair = {key: line[key] for key in ("id", "images", "prompt")}
            pair |= {"chosen": record.text, "rejected": rejected}
            self._pairs.append(json.dumps(pair, ensure_ascii=False))

    @property
    def records(self) -> int:
        """How many different records there are."""
        return len(self._records)

    def finish(self, **extra: Any) -> dict[str, Any]:
        """Write `train.jsonl` and `manifest.json`; returns the manifest."""
        text = "".join(f"{line}\n" for line in self._lines)
        (self._folder / TRAIN_NAME).write_text(text, encoding="utf-8")
        if self._pairs:
            text = "".join(f"{line}\n" for line in self._pairs)
            (self._folder / PAIRS_NAME).write_text(text, encoding="utf-8")
        records = list(self._records.values())
        counts = {
            "examples": len(self._lines),
            "preferences": len(self._pairs),
            "records": len(records),
            "images": len({record.image_hash for record in records}),
            "fields": dict(Counter(record.field for record in records)),
            "outcomes": dict(Counter(record.outcome for record in records)),
            "arms": dict(Counter(record.arm for record in records)),
        }
        return write_manifest(self._folder, counts=counts, extra=extra)

    def _save(self, image: Image.Image, name: str) -> None:
        path = self._folder / name
        if not path.exists():
            image.save(path)


def _as_line(record: Record) -> str | None:
    """What was suggested, as `Record.text` writes the answer."""
    if record.suggested is None:
        return None
    return (", " if record.kind == "closed" else " ").join(record.suggested)
