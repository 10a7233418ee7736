"""What takes long is begun first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.conftest import pytest_collection_modifyitems


def item(file: str, name: str, *marks: str) -> Any:
    found = [SimpleNamespace(name=mark) for mark in marks]
    return SimpleNamespace(path=Path(file), name=name, iter_markers=lambda: found)


def test_long_files_come_first_and_stay_whole() -> None:
    items = [
        item("a", "a1"),
        item("b", "b1", "parametrize"),
        item("b", "b2", "model", "timeout"),
        item("c", "c1", "label_studio"),
        item("d", "d1", "label_studio", "browser"),
        item("b", "b3"),
        item("e", "e1", "browser", "model"),
        item("e", "e2"),
        item("f", "f1"),
    ]
    pytest_collection_modifyitems(items)
    assert [one.name for one in items] == ["d1", "e1", "e2", "c1", "b1", "b2", "b3", "a1", "f1"]
