"""Bulk pre-labelling beside what its model server alone sustains, and beside handling tasks one after the other.

    python -m benchmarks.prelabel [--quick] [--tasks 10000] [--latency-ms 200] [--at-once 16] [--minutes 14]

The neighbours are stubs in a process of their own (benchmarks/prelabel_stub.py): a Label Studio with tasks of five
boxes each, every one on a 640 x 480 JPEG of its own, and a model that needs 200 ms for an answer and works on sixteen
at once, so 80 a second and no more: 10,000 tasks take ten and a half minutes at best, and the whole benchmark
fourteen. Where that is not enough (a slow or busy machine), pre-labelling is stopped then, the figure is of the tasks
done by then, and the table says how many. Progress goes to the standard error.

* `prelabel_of_ceiling`: answers a second that the model gave `regiontext prelabel`, over those it gave
  a bare client with as many connections that sends the same bytes again and again. Both by the stub's clock, from the
  first question to the last answer. Ours reads the tasks, fetches and decodes images, draws views, keeps suggestions
  with their provenance in SQLite, and stores predictions in Label Studio, in one process. Checked: every task (of
  a run that was stopped: every task stored by then) has exactly one prediction with all its captions. The bare client
  sends as many questions, a minute's at most.
* `batch_vs_serial`: the time per task of a batch of 100 tasks handled as a backend written with label-studio-ml is: one
  task after the other, one region after the other, one HTTP call each (image fetched once per task, region cut out,
  asked; nothing stored), over that of `regiontext prelabel`, all included. With --quick, fewer tasks.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from backend.jobs.prelabel import prelabel
from backend.jobs.progress import Progress
from backend.settings import Settings
from benchmarks.prelabel_stub import REGIONS, SIZE, boxes
from benchmarks.processes import running
from benchmarks.progress import teller
from benchmarks.report import Claim, report
from tests.label_studio_server import free_port

__all__ = ["main"]

CONCURRENCY = 8
# However late it is: a run of a second says nothing.
_LEAST_S = 30.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer tasks")
    parser.add_argument("--tasks", type=int, default=10_000, help="to pre-label")
    parser.add_argument("--latency-ms", type=float, default=200.0, help="of the model")
    parser.add_argument("--at-once", type=int, default=16, help="questions the model works on")
    parser.add_argument("--minutes", type=float, default=14.0, help="stop pre-labelling after it")
    args = parser.parse_args()
    tasks = 36 if args.quick else args.tasks
    few, many = (2, 20) if args.quick else (100, 100)
    model = args.latency_ms, args.at_once
    ends = time.monotonic() + 60 * args.minutes
    a_minute = int(60 * args.at_once / (args.latency_ms / 1000))
    with _stub(many, *model) as url:
        asyncio.run(_bare(url, min(tasks * REGIONS, a_minute)))
        ceiling = _rate(url)
        started = time.perf_counter()
        _serial(url, few)
        serial = (time.perf_counter() - started) / few
        started = time.perf_counter()
        _prelabel(url)
        batch = (time.perf_counter() - started) / many
    with _stub(tasks, *model) as url:
        finished = _prelabel(url, ends)
        ours = _rate(url)
        stats = httpx.get(f"{url}/stats").json()
    whole, stored = stats["whole"], stats["stored"]
    if whole != stored or (finished and whole != tasks):
        raise SystemExit(
            f"{whole} of {stored} stored, of {tasks} tasks, have exactly one whole prediction"
        )
    title = f"Pre-labelling {tasks} tasks of {REGIONS} regions"
    report(
        f"{title}; the model answers {args.at_once} at once in {args.latency_ms:g} ms",
        [
            Claim(
                "prelabel_of_ceiling",
                ours / ceiling,
                "x",
                f"{ours:.1f} answers/s, a bare client {ceiling:.1f}/s; {whole} of {tasks} tasks done once"
                + ("" if finished else f", stopped after {args.minutes:g} min"),
                bar=0.9,
            ),
            Claim(
                "batch_vs_serial",
                serial / batch,
                "x",
                f"{1000 * batch:.0f} ms a task over {many}, one by one {1000 * serial:.0f} ms over {few}",
                bar=5,
            ),
        ],
    )


@contextmanager
def _stub(tasks: int, latency_ms: float, at_once: int) -> Iterator[str]:
    port = free_port()
    command = ["benchmarks.prelabel_stub", "--port", str(port), "--tasks", str(tasks)]
    command += ["--latency-ms", str(latency_ms), "--at-once", str(at_once)]
    url = f"http://127.0.0.1:{port}"
    with running(command, f"{url}/stats"):
        yield url


def _rate(url: str) -> float:
    stats = httpx.get(f"{url}/stats").json()
    # Stopped before two answers, there is no rate.
    return float(stats["answered"] / stats["seconds"]) if stats["seconds"] > 0 else 0.0


def _prelabel(url: str, ends: float | None = None) -> bool:
    """Pre-label everything, or as much as is done by `ends` (of `time.monotonic`); whether it was everything."""
    tell = teller("prelabel")

    def told(now: Progress) -> None:
        tell(now.done, now.total, now.problem or "")

    left = None if ends is None else max(_LEAST_S, ends - time.monotonic())
    with tempfile.TemporaryDirectory() as folder:
        given: dict[str, Any] = {
            "label_studio_url": url,
            "label_studio_api_key": "k" * 40,
            "model_url": f"{url}/v1",
            "data_dir": Path(folder),
            "holdout": 0.0,
            "control": 0.0,
            "_env_file": None,
        }
        settings = Settings(**given)
        try:
            done = asyncio.run(
                asyncio.wait_for(prelabel(settings, 1, told, concurrency=CONCURRENCY), left)
            )
        except TimeoutError:
            return False
        if done.errors:
            raise SystemExit(f"{done.failed} tasks failed: {done.errors[0]}")
    return True


async def _bare(url: str, questions: int) -> None:
    """Fire the same question so many times over as many connections as pre-labelling has open."""
    view = Image.effect_noise((200, 150), 60).convert("RGB")
    body = json.dumps(_question(view)).encode()
    host = httpx.URL(url)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host.host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    left = iter(range(questions))
    tell = teller("bare client")

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host.host, host.port)
        for number in left:
            tell(number + 1, questions)
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in answer.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CONCURRENCY * REGIONS)))


def _serial(url: str, tasks: int) -> None:
    tell = teller("one by one")
    with httpx.Client(base_url=url, timeout=120) as http:
        for task in range(1, tasks + 1):
            tell(task, tasks)
            photo = http.get(f"/data/upload/{task}.jpg").content
            image = Image.open(io.BytesIO(photo)).convert("RGB")
            for result in boxes(task):
                value = result["value"]
                corners = np.array(
                    (
                        value["x"],
                        value["y"],
                        value["x"] + value["width"],
                        value["y"] + value["height"],
                    )
                )
                cut = image.crop(tuple((corners / 100 * (*SIZE, *SIZE)).astype(int)))
                answer = http.post("/v1/chat/completions", json=_question(cut))
                assert answer.json()["choices"][0]["message"]["content"]


def _question(image: Image.Image) -> dict[str, Any]:
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)
    address = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    parts = [
        {"type": "image_url", "image_url": {"url": address}},
        {"type": "text", "text": "Describe the object within the red rectangle."},
    ]
    return {
        "model": "stub",
        "messages": [{"role": "user", "content": parts}],
        "max_tokens": 48,
        "temperature": 0,
        "logprobs": True,
    }


if __name__ == "__main__":
    main()
