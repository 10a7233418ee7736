"""What people made of suggestions, as examples a model can learn from and be judged by.

Knows no database, no web server and no model: the backend feeds it rows, and takes back outcomes,
records and files.
"""

from __future__ import annotations

__all__: list[str] = []
