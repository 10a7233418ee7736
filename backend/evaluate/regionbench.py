"""RegionBench: put to the served model by a process of its own.

It belongs to the model server's package, from which the backend imports nothing; like the backend it speaks HTTP only
and needs no torch. Knows nothing of what it asks.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.evaluate.errors import EvaluateError

__all__ = ["MODULE", "put_regionbench"]

MODULE = "model_server.regionbench"


async def put_regionbench(
    url: str,
    model: str,
    out: Path,
    *,
    regions: int,
    view: Mapping[str, Any] | None = None,
    key: str | None = None,
    module: str = MODULE,
) -> dict[str, Any]:
    """Ask `model` at `url` (with /v1) about `regions` regions, show its tables, return all figures.

    `out` gets them as JSON. view: how regions are shown, None for what the server announces. Raises EvaluateError if
    the process fails; what it said is on standard error.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    # The key goes by the environment: anyone on the machine may read a process's arguments.
    environment = {**os.environ, **({"REGIONTEXT_MODEL_API_KEY": key} if key else {})}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module, "--url", url.rstrip("/").removesuffix("/v1"), "--model", model),
        *("--regions", str(regions), "--json", str(out)),
        *(("--view", json.dumps(view)) if view else ()),
        env=environment,
    )
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if status != 0:
        raise EvaluateError(f"RegionBench ended with status {status}; its words are above")
    try:
        told: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluateError(f"RegionBench left no figures in {out}: {error}") from error
    return told
