"""Answers that were paid for once: a file of JSON lines, so that a run goes on where the last one stopped.

Knows nothing of what was asked.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from backend.evaluate.errors import EvaluateError

__all__ = ["Answers", "key_of"]


def key_of(*parts: Any) -> str:
    """A short name for everything that an answer depends on (JSON values): other parts, another name."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Answers:
    """Answers by `key_of`, kept in a file as they come. For one process and one thread at a time.

    A line that is cut off, as a kill leaves it, is asked again. Raises EvaluateError if the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
            for line in text.split("\n"):
                self._read(line)
            self._file = path.open("a", encoding="utf-8")
            if text and not text.endswith("\n"):
                self._file.write("\n")
        except OSError as error:
            raise EvaluateError(f"answers cannot be kept in {path}: {error}") from error

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self._known[str(entry["key"])] = str(entry["text"])
        except (ValueError, TypeError, KeyError):
            return

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> str | None:
        """The answer, if it is known."""
        return self._known.get(key)

    def put(self, key: str, text: str, **about: Any) -> None:
        """Keep an answer from now on; `about` is written beside it for readers."""
        self._known[key] = text
        line = json.dumps({"key": key, **about, "text": text}, ensure_ascii=False)
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
