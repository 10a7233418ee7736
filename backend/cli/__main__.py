"""`python -m backend.cli`: the same as `regiontext`."""

from __future__ import annotations

from backend.cli.app import app

if __name__ == "__main__":
    app(prog_name="regiontext")
