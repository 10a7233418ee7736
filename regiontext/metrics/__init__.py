"""How alike two texts are, and whether one model is better than another. Pure functions."""

from __future__ import annotations

__all__: list[str] = []
