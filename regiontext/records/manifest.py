"""What a folder of data holds: every file's hash, the counts, and how the data was chosen.

Knows nothing of the data itself: any folder can have a manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from regiontext.errors import RecordError
from regiontext.records.staging import write_text_durably

__all__ = [
    "FORMAT",
    "MANIFEST_NAME",
    "file_hash",
    "has_manifest",
    "read_manifest",
    "verify_manifest",
    "write_manifest",
]

FORMAT = "regiontext-manifest/1"
MANIFEST_NAME = "manifest.json"


def file_hash(path: Path) -> str:
    """The sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files_below(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if path != folder / MANIFEST_NAME)


def write_manifest(
    folder: Path,
    *,
    counts: Mapping[str, Any],
    filters: Mapping[str, Any] | None = None,
    config_hash: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Hash every file below `folder` and write `manifest.json` last; returns its content.

    `counts` says how many of what, `filters` how the data was chosen, `config_hash` is that of the
    labeling config; `extra` keys stand beside them and may not replace them (RecordError).
    """
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "counts": dict(counts),
        "filters": dict(filters or {}),
        "config_hash": config_hash,
        "files": {
            path.relative_to(folder).as_posix(): {
                "sha256": file_hash(path),
                "bytes": path.stat().st_size,
            }
            for path in _files_below(folder)
        },
    }
    clash = sorted(set(manifest) & set(extra or {}))
    if clash:
        raise RecordError(f"the manifest already has {clash}; name the extra keys otherwise")
    manifest |= extra or {}
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    write_text_durably(folder / MANIFEST_NAME, text + "\n")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder; raises RecordError if there is none or it is not one of ours."""
    path = folder / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecordError(f"{folder} has no {MANIFEST_NAME}") from error
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise RecordError(f"{path} is not a {FORMAT} file")
    return manifest


def has_manifest(folder: Path) -> bool:
    """Whether a folder was written by this program."""
    try:
        read_manifest(folder)
    except RecordError:
        return False
    return True


def verify_manifest(folder: Path) -> list[str]:
    """One line per file that is missing, changed or not listed; empty if all is as written."""
    listed: dict[str, Any] = read_manifest(folder)["files"]
    present = {path.relative_to(folder).as_posix(): path for path in _files_below(folder)}
    faults = [f"{name}: missing" for name in listed if name not in present]
    faults += [f"{name}: not in the manifest" for name in present if name not in listed]
    for name, entry in listed.items():
        if name in present and file_hash(present[name]) != entry["sha256"]:
            faults.append(f"{name}: changed since it was written")
    return sorted(faults)
