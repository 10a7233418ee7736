"""WebDataset: tar shards that hold everything, each record under a key of its own.

`KEY.png` or `KEY.jpg` (the plain image), `KEY.marked_0.png` …, `KEY.mask_0.png` … (255 inside the region) and
`KEY.json` (the whole record); shards `train-000000.tar` of at most a gigabyte, unless one record is larger. Keys have
no dots. The same records give the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from PIL import Image

from regiontext.coco import coco_to_mask
from regiontext.errors import RecordError
from regiontext.records.example import Example
from regiontext.records.formats.files import each_split
from regiontext.records.formats.format import Add, Carried, Format, Item, Options, no_reason
from regiontext.records.spine import compact
from regiontext.records.splits import SPLITS, Split

__all__ = ["WEBDATASET"]

SHARD: Final = "{split}-{number:06d}.tar"
LARGEST: Final = 10**9
_BLOCK = 512


class _Shards:
    """The shards of one split. Memory holds one record's files."""

    def __init__(self, folder: Path, split: Split) -> None:
        self._folder, self._split = folder, split
        self._number = self._count = self._size = 0
        self._tar: tarfile.TarFile | None = None

    def add(self, example: Example) -> None:
        files = [(compact(example.to_dict()).encode(), "json")]
        plain = self._folder / example.image.path
        files.append((plain.read_bytes(), plain.suffix.lstrip(".").lower() or "png"))
        for place, name in enumerate(example.marking.images if example.marking else ()):
            path = self._folder / name
            files.append((path.read_bytes(), f"marked_{place}.{path.suffix.lstrip('.')}"))
        for place, region in enumerate(example.regions):
            files.append((_mask_png(region.rle), f"mask_{place}.png"))
        size = sum(_BLOCK + -(-len(data) // _BLOCK) * _BLOCK for data, _ in files)
        if self._tar is None or self._size + size > LARGEST:
            self._next()
        assert self._tar is not None
        for data, extension in files:
            info = tarfile.TarInfo(f"{self._count:09d}.{extension}")
            info.size = len(data)
            self._tar.addfile(info, io.BytesIO(data))
        # tarfile keeps a header per file, for reading back what it wrote.
        self._tar.members.clear()  # type: ignore[attr-defined]  # not in typeshed
        self._count += 1
        self._size += size

    def _next(self) -> None:
        self.close()
        name = SHARD.format(split=self._split, number=self._number)
        self._tar = tarfile.open(self._folder / name, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._number += 1
        self._size = 0

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()


def _mask_png(code: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(coco_to_mask(code)).convert("L").save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def _write(folder: Path, options: Options) -> Iterator[Add]:
    with each_split(lambda split: closing(_Shards(folder, split))) as of:
        yield lambda example: of(example.split).add(example)


def _read(folder: Path, options: Options) -> Iterator[Item]:
    for split in SPLITS:
        for path in sorted(folder.glob(f"{split}-*.tar")):
            with tarfile.open(path) as tar:
                for member in tar:
                    file = tar.extractfile(member) if member.name.endswith(".json") else None
                    if file is not None:
                        data = json.loads(file.read())
                        if not isinstance(data, dict) or "id" not in data:
                            raise RecordError(f"{path}: {member.name} is no record")
                        yield Item(str(data["id"]), split, data)


def _carried(item: Any, beside: Mapping[str, Any], options: Options) -> Carried:
    return dict(item)


WEBDATASET = Format(
    name="webdataset",
    about="WebDataset: tar shards with images, masks and the whole record",
    pictures="both",
    write=_write,
    read=_read,
    carried=_carried,
    unfit=no_reason,
    holds="everything, pictures and masks too",
    lacks="nothing",
)
