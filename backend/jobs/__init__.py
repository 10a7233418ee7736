"""The long work: pre-labelling, collecting what people did, exporting it, and teaching the model.

Every job can be killed at any moment and started again: it asks what is already done before it does it.
"""

from __future__ import annotations

__all__: list[str] = []
