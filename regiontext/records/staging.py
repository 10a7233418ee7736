"""Folders that appear complete or not at all.

A dataset is written into a folder beside its place and renamed into it. Knows nothing of what is in
it, except that a folder which holds a manifest of ours may be replaced.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from regiontext.errors import RecordError

__all__ = ["link_or_copy", "resumable_folder", "write_text_durably"]


def write_text_durably(path: Path, text: str) -> None:
    """Write `text` (UTF-8) beside `path`, flush it to the disk and rename it into place."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


@contextmanager
def resumable_folder(
    out: Path, *, replaceable: Callable[[Path], bool], worth_keeping: Callable[[Path], bool]
) -> Iterator[Path]:
    """Yield a folder beside `out`; when the block ends without error it becomes `out`.

    It has whatever an earlier block left there. An existing `out` is replaced if it is empty or `replaceable(out)` says
    so; otherwise RecordError is raised before anything is written. If the block raises, `out` is left as it was, and
    the folder beside it is kept when `worth_keeping(folder)`, else removed. A process killed between the two renames
    of a replacement leaves the old folder set aside beside `out`; the next call puts it back first. One process at a
    time: hold a lock around it.
    """
    aside = out.with_name(f".{out.name}.previous")
    if aside.exists() and not out.exists():
        aside.rename(out)
    _check_replaceable(out, replaceable)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.partial")
    staging.mkdir(exist_ok=True)
    try:
        yield staging
        if out.exists():
            if aside.exists():
                shutil.rmtree(aside)
            out.rename(aside)
        staging.rename(out)
        if aside.exists():
            shutil.rmtree(aside)
    except BaseException:
        if staging.exists() and not worth_keeping(staging):
            shutil.rmtree(staging, ignore_errors=True)
        raise


def _check_replaceable(out: Path, replaceable: Callable[[Path], bool]) -> None:
    if out.exists():
        if not out.is_dir():
            raise RecordError(f"{out} is a file; name a folder that does not exist yet")
        if any(out.iterdir()) and not replaceable(out):
            raise RecordError(
                f"{out} is not empty and was not written by this program; "
                "name another folder, or empty this one"
            )


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source` where the file system can, else a copy of it; an existing one stays."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        shutil.copyfile(source, beside)
        beside.replace(target)
