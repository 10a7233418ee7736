"""Checkpoints of a fine-tuning run that survive being killed at any moment.

A checkpoint is complete when its `complete.json` is there and the files are those it names, byte for
byte; whatever is not is passed over. The run's result appears by rename. Work in progress lies in
`OUT.partial` next to the result. Knows nothing of data.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from model_server.errors import TrainingError

__all__ = ["Workplace", "open_workplace"]

_KEPT = 2
_MARK = "complete.json"


@dataclass(frozen=True)
class Workplace:
    """Where a run keeps its work: `partial` until it is done, then `out`."""

    out: Path
    partial: Path

    def last(self) -> Path | None:
        """The newest complete checkpoint, or None."""
        for folder in sorted(self.partial.glob("step-*"), reverse=True):
            if _is_complete(folder):
                return folder
        return None

    def save(self, model: PeftModel, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write a checkpoint after `step` steps and forget all but the last two."""
        target = self.partial / f"step-{step:07d}"
        beside = self.partial / f"writing-{step:07d}"
        for left in (beside, target):
            shutil.rmtree(left, ignore_errors=True)
        model.save_pretrained(beside)
        torch.save(optimizer.state_dict(), beside / "optimizer.pt")
        hashes = {path.name: _sha256(path) for path in sorted(beside.iterdir()) if path.is_file()}
        (beside / _MARK).write_text(json.dumps(hashes), encoding="utf-8")
        os.rename(beside, target)
        for old in sorted(self.partial.glob("step-*"))[:-_KEPT]:
            shutil.rmtree(old)

    def keep(self, name: str, value: Any) -> None:
        """Keep tensors under a name in the work in progress."""
        beside = self.partial / f"writing-{name}"
        torch.save(value, beside)
        os.replace(beside, self.partial / name)

    def kept(self, name: str) -> Any:
        """What was kept under a name; None if nothing was."""
        path = self.partial / name
        return torch.load(path, weights_only=True) if path.is_file() else None

    def finished(self) -> dict[str, Any] | None:
        """The run.json of the result, if this very run is done; clears what it left."""
        if not self.out.is_dir():
            return None
        shutil.rmtree(self.partial, ignore_errors=True)
        run: dict[str, Any] = json.loads((self.out / "run.json").read_text(encoding="utf-8"))
        return run

    def finish(self, model: PeftModel, run: Mapping[str, Any]) -> None:
        """Write the adapter and run.json, let them appear as `out`, and clear the work."""
        beside = self.partial / "result"
        shutil.rmtree(beside, ignore_errors=True)
        model.save_pretrained(beside)
        # peft adds a model card with nothing but placeholders.
        (beside / "README.md").unlink(missing_ok=True)
        (beside / "run.json").write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
        os.rename(beside, self.out)
        shutil.rmtree(self.partial)


def open_workplace(out: Path, *, identity: Mapping[str, Any], resume: bool) -> Workplace:
    """Prepare the folders of a run.

    Args:
        identity: what makes it this run and no other; a resumed run must agree.
        resume: go on where an earlier run was stopped, if there is one; or take its result, if it
            had just finished.

    Raises TrainingError when `out` exists, or when the work in progress is of another run.
    """
    partial = out.with_name(out.name + ".partial")
    place = Workplace(out, partial)
    if out.exists():
        if resume and _identity_of(out) == json.loads(json.dumps(dict(identity))):
            return place
        raise TrainingError(f"{out} exists already; choose another --out or remove it.")
    known = partial / "identity.json"
    if resume and known.is_file():
        before = json.loads(known.read_text(encoding="utf-8"))
        differs = [key for key in identity if before.get(key) != identity[key]]
        if differs:
            key = differs[0]
            raise TrainingError(
                f"{partial} holds a run with another {key} ({before.get(key)!r}, now "
                f"{identity[key]!r}); resume with the same settings or leave --resume out."
            )
        return place
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    beside = partial / "identity.tmp"
    beside.write_text(json.dumps(identity), encoding="utf-8")
    os.rename(beside, known)
    return place


def _identity_of(out: Path) -> Any:
    try:
        return json.loads((out / "run.json").read_text(encoding="utf-8"))["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_complete(folder: Path) -> bool:
    try:
        hashes = json.loads((folder / _MARK).read_text(encoding="utf-8"))
        return all(_sha256(folder / name) == digest for name, digest in hashes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
