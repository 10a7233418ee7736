"""The backend's own time per interactive call: ten annotators drawing, a model that answers at once.

    python -m benchmarks.backend [--quick]

The backend is the real one, a process of its own; a second process stands in for Label Studio's images and the model
server, and answers at once. Own is what the client waits less what that process works at the questions of the call
(it is told which they are by `X-Request-Id`), from their last byte's arrival to their answer's. `call_p50_cached_ms` is
all that the client waits. Ten annotators draw a region every two seconds for a minute, on images of 1280 x 960. Each
opens a new task every five drawings: the first call on an image has to fetch and decode it (`first`), the others do
not (`cached`). Each call asks the two questions of the template `attributes`. Times are in milliseconds. They grow when
other programs want the processor; `own_cpu_ms`, what the backend's process computed per call (first ones and waiting
included) by the system's own count, does far less.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from backend.logs import REQUEST_ID_HEADER
from backend.up.settings import find_settings
from benchmarks.neighbours import SIZE
from benchmarks.processes import running
from benchmarks.report import Claim, report
from tests.label_studio_server import free_port

ANNOTATORS = 10
EVERY_S = 2.0
DRAWINGS_PER_IMAGE = 5


def main() -> None:
    """Run it and print what a call takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="12 seconds instead of 60")
    seconds = 12.0 if parser.parse_args().quick else 60.0
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        near, own = free_port(), free_port()
        near_url = f"http://127.0.0.1:{near}"
        stack.enter_context(
            running(["benchmarks.neighbours", "--port", str(near)], f"{near_url}/v1/models")
        )
        stack.enter_context(
            running(
                ["backend.cli", "serve", "--port", str(own), "--data-dir", folder],
                f"http://127.0.0.1:{own}/ready",
                REGIONTEXT_LABEL_STUDIO_URL=near_url,
                REGIONTEXT_LABEL_STUDIO_API_KEY="k" * 40,
                REGIONTEXT_MODEL_URL=f"{near_url}/v1",
                REGIONTEXT_HOLDOUT="0",
                REGIONTEXT_CONTROL="0",
                REGIONTEXT_BASIC_AUTH_USER="",
                REGIONTEXT_BASIC_AUTH_PASSWORD="",
                REGIONTEXT_LOG_LEVEL="WARNING",
            )
        )
        calls, cpu = asyncio.run(_draw(f"http://127.0.0.1:{own}", folder, seconds))
        spent = httpx.get(f"{near_url}/spent").raise_for_status().json()
    first, cached = (
        [call.took - spent[call.id] for call in calls if call.first is which]
        for which in (True, False)
    )
    waited = [call.took for call in calls if not call.first]
    unfilled = sum(not call.filled for call in calls)
    report(
        f"{len(calls)} drawings by {ANNOTATORS} annotators in {seconds:.0f} s",
        [
            _claim("own_time_p50_cached_ms", cached, 50, 15),
            _claim("own_time_p99_cached_ms", cached, 99, 60),
            _claim("own_time_p50_first_ms", first, 50, 60),
            _claim("own_time_p99_first_ms", first, 99, 200),
            Claim("own_cpu_ms", cpu * 1000, "ms", "computed per call, all threads"),
            Claim("own_time_min_cached_ms", min(cached) * 1000, "ms", "when nobody disturbed"),
            Claim(
                "call_p50_cached_ms", float(np.median(waited)) * 1000, "ms", "with the stub model"
            ),
            Claim("own_unfilled", unfilled, "regions", "came back without a caption", 0, True),
        ],
    )


def _claim(key: str, times: list[float], percentile: float, bar: float) -> Claim:
    value = float(np.percentile(times, percentile)) * 1000
    return Claim(key, value, "ms", f"of {len(times)} calls", bar, True)


@dataclass(frozen=True)
class _Call:
    """One call: its id, the seconds the client waited, whether its image was new and its region came back filled."""

    id: str
    took: float
    first: bool
    filled: bool


async def _draw(url: str, folder: str, seconds: float) -> tuple[list[_Call], float]:
    """The calls, and seconds of CPU per call."""
    calls: list[_Call] = []
    ends = time.monotonic() + seconds
    xml = files("templates").joinpath("attributes.xml").read_text()
    auth = _basic_auth(folder)

    async def annotate(who: int, http: httpx.AsyncClient) -> None:
        rng = np.random.default_rng(who)
        await asyncio.sleep(EVERY_S * who / ANNOTATORS)
        number = 0
        while (started := time.monotonic()) < ends:
            task = 1000 * (who + 1) + number // DRAWINGS_PER_IMAGE
            began = time.perf_counter()
            answer = await http.post("/predict", json=_body(task, number, xml, rng))
            took = time.perf_counter() - began
            results = answer.json()["results"][0]["result"]
            filled = any(item["type"] == "textarea" for item in results)
            first = number % DRAWINGS_PER_IMAGE == 0
            calls.append(_Call(answer.headers[REQUEST_ID_HEADER], took, first, filled))
            number += 1
            await asyncio.sleep(max(0.0, started + EVERY_S - time.monotonic()))

    async with httpx.AsyncClient(base_url=url, timeout=30, auth=auth) as http:
        before = await _computed(http)
        await asyncio.gather(*(annotate(who, http) for who in range(ANNOTATORS)))
        computed = await _computed(http) - before
    return calls, computed / len(calls)


async def _computed(http: httpx.AsyncClient) -> float:
    """Seconds of CPU that the backend's process has used; nan where the system does not tell."""
    text = (await http.get("/metrics")).raise_for_status().text
    found = (line.split() for line in text.splitlines())
    return next((float(p[1]) for p in found if p[:1] == ["process_cpu_seconds_total"]), math.nan)


def _basic_auth(folder: str) -> httpx.BasicAuth | None:
    """What `regiontext serve` made up for its data folder."""
    settings = find_settings(Path(folder))
    password = settings.basic_auth_password
    return (
        httpx.BasicAuth(settings.basic_auth_user or "", password.get_secret_value())
        if password
        else None
    )


def _body(task: int, number: int, xml: str, rng: np.random.Generator) -> dict[str, Any]:
    x, y = rng.uniform(0, 70, 2)
    width, height = rng.uniform(5, 28, 2)
    shape = {
        "id": f"region{task}-{number}",
        "from_name": "rectangle",
        "to_name": "image",
        "type": "rectanglelabels",
        "origin": "manual",
        "original_width": SIZE[0],
        "original_height": SIZE[1],
        "image_rotation": 0,
        "value": {
            "x": float(x),
            "y": float(y),
            "width": float(width),
            "height": float(height),
            "rotation": 0,
            "rectanglelabels": ["Object"],
        },
    }
    return {
        "tasks": [
            {
                "id": task,
                "data": {"image": f"/data/upload/1/{task}.jpg"},
                "annotations": [],
                "predictions": [],
                "drafts": [],
            }
        ],
        "project": "1.1795236743",
        "label_config": xml,
        "params": {"login": None, "password": None, "context": {"result": [shape]}},
    }


if __name__ == "__main__":
    main()
