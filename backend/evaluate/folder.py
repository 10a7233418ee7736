"""The folder of a published benchmark: its JSON files read, its pictures there, and what to do if not.

Knows no benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.evaluate.errors import WrongFolder

__all__ = ["Published"]


@dataclass(frozen=True)
class Published:
    """A benchmark by its name, and the address of its folder."""

    name: str
    url: str

    @property
    def where(self) -> str:
        """How to come by it."""
        return f"get it from {self.url}"

    def read(self, folder: Path, file: str) -> Any:
        """What the JSON file says. Raises WrongFolder if it is not there, or no JSON."""
        try:
            return json.loads((folder / file).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            inside = next((child for child in folder.glob(f"*/{file}")), None)
            hint = f"did you mean {inside.parent}?" if inside else self.where
            raise WrongFolder(f"{folder} is no {self.name}: it has no {file}; {hint}") from error
        except (OSError, ValueError) as error:
            raise WrongFolder(f"{folder / file} cannot be read: {error}") from error

    def not_whole(self, folder: Path, why: str) -> WrongFolder:
        """The error for a folder of which something is missing or odd."""
        return WrongFolder(f"{folder} is no whole {self.name}: {why}; {self.where}")

    def check_pictures(self, folder: Path, pictures: Iterable[Path]) -> None:
        """Raises WrongFolder, naming the first picture that is not there."""
        for picture in pictures:
            if not picture.is_file():
                raise self.not_whole(folder, f"{picture} is not there")
