"""One model is loaded at a time: transformers changes torch's defaults while it loads, for all threads.

Two models loaded at once lose weights, and so does every model loaded later in the process. Knows no model.
"""

from __future__ import annotations

import threading

__all__ = ["LOADING"]

LOADING = threading.Lock()
"""Held around every `from_pretrained` of a model."""
