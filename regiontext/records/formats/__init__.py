"""One module per file format that records can be written in."""

from __future__ import annotations

__all__: list[str] = []
