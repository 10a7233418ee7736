"""The folder that a training run reads: `train.jsonl`, one prompt and answer per line, and its pictures.

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

__all__ = ["TRAIN_NAME", "TrainingSet"]

TRAIN_NAME = "train.jsonl"


class TrainingSet:
    """Collects examples in a folder; `finish` writes the index and the manifest. Pictures are kept once each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[str] = []
        self._records: dict[str, Record] = {}
        (folder / "images").mkdir(parents=True)

    def add(self, record: Record, shown: Shown) -> None:
        """One way to show a record, with the human's answer."""
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
            "source": "human",
        }
        self._lines.append(json.dumps(line, ensure_ascii=False))

    @property
    def records(self) -> int:
        """How many different records there are."""
        return len(self._records)

    def finish(self, **extra: Any) -> dict[str, Any]:
        """Write `train.jsonl` and `manifest.json`; returns the manifest."""
        text = "".join(f"{line}\n" for line in self._lines)
        (self._folder / TRAIN_NAME).write_text(text, encoding="utf-8")
        records = list(self._records.values())
        counts = {
            "examples": len(self._lines),
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
