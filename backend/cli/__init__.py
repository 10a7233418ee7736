"""The command line: `regiontext up`, `serve`, `connect`, and the jobs.

    app.py        the commands, put together, and what they share (--version, --debug)
    running.py    options all share, errors in one line, progress bars
    up.py, serve.py, connect.py, doctor.py, jobs.py, outcomes.py, evaluate.py   thin wrappers: options in, words out

Knows nothing that the modules it calls do not know better.
"""

from __future__ import annotations

from backend.cli.app import app

__all__ = ["app"]
