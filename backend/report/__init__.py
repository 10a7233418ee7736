"""The report: what people made of the suggestions, whether the model gets better, and what it was shown.

`figures` asks the store, `plots` draws, `page` writes the one HTML page, `seen` draws what the model saw, `routes`
serve it. No script, no style and no picture comes from elsewhere.
"""

from __future__ import annotations
