"""Finds what is wrong between Label Studio, the backend and the model, hop by hop.

    hop.py      what a hop is, and how a chain of them is examined
    studio.py   Label Studio's side: version, key, project, connection, webhook, delivery
    ours.py     our side: database, backend, image, model, a caption
    chain.py    all of them in order

Each hop says in one line what it found, or what is wrong and the exact fix. Nothing is changed for good.
"""

from __future__ import annotations

from backend.doctor.chain import chain
from backend.doctor.hop import Finding, Hop, Said, examine

__all__ = ["Finding", "Hop", "Said", "chain", "examine"]
