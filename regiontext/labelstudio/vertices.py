"""Label Studio's vector vertices to a `Path` in pixels, and back.

A vertex is `{"id", "x", "y", "prevPointId", "isBezier", "controlPoint1", "controlPoint2"}`, in
percent: joined from the vertex that prevPointId names, with one Bézier handle towards it and one
towards the next. A closed path names the last vertex in its first. Faults are ValueErrors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontext.geometry import Points, from_percent, snap, to_percent
from regiontext.labelstudio.values import items, numbers, short
from regiontext.path import Path

__all__ = ["MAX_VERTICES", "read_path", "write_vertices"]

MAX_VERTICES = 20_000
"""Vectors of more vertices are refused: each may begin a curve of two dozen points."""


def read_path(value: Mapping[str, Any], size: tuple[int, int]) -> Path:
    """The path of a vector's value on an image of size (W, H)."""
    vertices = items(value, "vertices", limit=MAX_VERTICES)
    closed = value.get("closed", False)
    if not isinstance(closed, bool):
        raise ValueError(f"closed is {short(closed)}, not true or false")
    if any(not isinstance(vertex, Mapping) for vertex in vertices):
        raise ValueError("one of its vertices is no object with x and y")
    return Path(
        snap(from_percent(_positions(vertices), size)),
        _previous(vertices),
        _handles(vertices, "controlPoint1", size),
        _handles(vertices, "controlPoint2", size),
        closed,
    )


def write_vertices(path: Path, size: tuple[int, int], name: str) -> list[dict[str, Any]]:
    """The vertices that `read_path` reads as this path; `name` begins their ids."""
    vertices: list[dict[str, Any]] = []
    entering, leaving = to_percent(path.entering, size), to_percent(path.leaving, size)
    for index, (x, y) in enumerate(to_percent(path.vertices, size).tolist()):
        handles = {
            key: {"x": float(handle[0]), "y": float(handle[1])}
            for key, handle in (
                ("controlPoint1", entering[index]),
                ("controlPoint2", leaving[index]),
            )
            if not np.isnan(handle[0])
        }
        vertex = {"id": f"{name}-{index}", "x": x, "y": y, "isBezier": bool(handles)} | handles
        if path.previous[index] >= 0:
            vertex["prevPointId"] = f"{name}-{path.previous[index]}"
        vertices.append(vertex)
    return vertices


def _positions(entries: Sequence[Mapping[str, Any]]) -> Points:
    for key in ("x", "y"):
        if any(key not in entry for entry in entries):
            raise ValueError(f"{key} is missing")
    return np.stack([numbers([entry[key] for entry in entries], key) for key in ("x", "y")], axis=1)


def _previous(vertices: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    places = {
        vertex["id"]: index
        for index, vertex in enumerate(vertices)
        if isinstance(vertex.get("id"), str)
    }
    named = [vertex.get("prevPointId") for vertex in vertices]
    before = [places.get(id, -1) if isinstance(id, str) else -1 for id in named]
    found = np.array(before, dtype=np.int64)
    found[found == np.arange(len(found))] = -1
    # Without any joint of their own, the vertices are joined in order.
    return found if (found >= 0).any() else np.arange(-1, len(found) - 1)


def _handles(vertices: Sequence[Mapping[str, Any]], key: str, size: tuple[int, int]) -> Points:
    found = np.full((len(vertices), 2), np.nan)
    bent = [
        index
        for index, vertex in enumerate(vertices)
        if vertex.get("isBezier") is True and vertex.get(key) is not None
    ]
    handles = [vertices[index][key] for index in bent]
    for handle in handles:
        if not isinstance(handle, Mapping):
            raise ValueError(f"{key} is {short(handle)}, no object with x and y")
    if bent:
        found[bent] = snap(from_percent(_positions(handles), size))
    return found
