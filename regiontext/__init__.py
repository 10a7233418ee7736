"""Region-level text: what was drawn, how it is shown to a model, what is asked, and what people made of it.

Pure functions and frozen dataclasses over numpy, Pillow and shapely. Knows no web server, no database, no torch and no
network.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
