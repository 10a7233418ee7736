"""kill -9 of the backend under load: every acknowledged annotation is in the store exactly once after `collect`.

    python -m benchmarks.kills [--quick] [--minutes 12]

A real Label Studio, and a real backend in a process of its own which is killed at random moments and started again, 50
times (5 with --quick), while people submit, change and delete annotations and draw regions. What Label Studio
acknowledged to them is compared with what the store holds in the end. Takes about five minutes on two quiet cores;
after --minutes no more kills begin, and the table says how many there were. Progress goes to the standard error. An
acknowledgement that did not arrive in time says neither yes nor no: that annotation is not compared.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from backend import label_studio
from backend.connect import connect
from backend.jobs.collect import collect
from backend.settings import Settings
from backend.store import AnnotationRow, SuggestionRow, open_store
from benchmarks.processes import running
from benchmarks.progress import teller
from benchmarks.report import Claim, report
from tests.backend.stubs import photo
from tests.label_studio_server import LabelStudioServer, free_port, running_label_studio

PEOPLE = 4
TASKS = 12


@dataclass
class Submitted:
    """What Label Studio acknowledged: by annotation id, the caption it holds; None if it was deleted."""

    captions: dict[int, str | None] = field(default_factory=dict)
    drawn: int = 0
    lost: int = 0
    unsure: int = 0

    def doubt(self, id: int) -> None:
        """Nobody knows whether the last change of an annotation was made."""
        self.unsure += self.captions.pop(id, "") != ""


def main() -> None:
    """Run it and print what was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=12.0, help="begin no kill after it")
    args = parser.parse_args()
    ends = time.monotonic() + 60 * args.minutes
    kills = 5 if args.quick else 50
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(running_label_studio(folder / "label-studio"))
        near = f"http://127.0.0.1:{free_port()}"
        stack.enter_context(
            running(["benchmarks.neighbours", "--port", near.rsplit(":")[-1]], f"{near}/v1/models")
        )
        settings = Settings(
            label_studio_url=server.url,
            label_studio_api_key=server.token,
            model_url=f"{near}/v1",
            data_dir=folder / "regiontext",
            port=free_port(),
            holdout=0,
            control=0,
            webhook_secret="s3cret",
            _env_file=None,
        )
        done, killed = _under_load(settings, server, kills, args.seed, ends)
        missing, doubled, stale = _compare(settings, done)
    report(
        f"{killed} kills, {len(done.captions)} annotations, {done.drawn} regions drawn",
        [
            Claim(
                "kills_lost",
                missing + doubled + stale,
                "annotations",
                "not there once, as they are",
                0,
                True,
            ),
            Claim(
                "kills_regions_lost", done.lost, "regions", "not in an answer that came", 0, True
            ),
            Claim("kills", killed, "kills", f"of the backend, of {kills} wanted"),
            Claim("kills_annotations", len(done.captions), "annotations", "acknowledged"),
            Claim("kills_unsure", done.unsure, "annotations", "not compared: no answer in time"),
        ],
    )


def _under_load(
    settings: Settings, server: LabelStudioServer, kills: int, seed: int, ends: float
) -> tuple[Submitted, int]:
    """What was acknowledged, and how many kills there were."""
    killed, tell = 0, teller("kills")
    rng = random.Random(seed)
    each, stop = [Submitted() for _ in range(PEOPLE)], threading.Event()
    backend = _start(settings)
    try:
        with label_studio.client(settings, timeout=60) as client:
            project, tasks, entry = _project(client, settings)
            people = [
                threading.Thread(
                    target=_annotate,
                    args=(server, tasks, entry, done, stop, random.Random(seed * 100 + n)),
                )
                for n, done in enumerate(each)
            ]
            for person in people:
                person.start()
            while killed < kills and time.monotonic() < ends:
                time.sleep(rng.uniform(0.0, 2.0))
                backend.send_signal(signal.SIGKILL)
                backend.wait()
                time.sleep(rng.uniform(0.0, 0.5))
                backend = _start(settings, wait=rng.random() < 0.5)
                killed += 1
                held = sum(len(done.captions) for done in each)
                tell(killed, kills, f"{held} annotations")
            stop.set()
            for person in people:
                person.join()
            asyncio.run(collect(settings, project))
    finally:
        stop.set()
        backend.kill()
        backend.wait()
    whole = Submitted(
        {id: words for done in each for id, words in done.captions.items()},
        sum(done.drawn for done in each),
        sum(done.lost for done in each),
        sum(done.unsure for done in each),
    )
    return whole, killed


def _start(settings: Settings, *, wait: bool = True) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "REGIONTEXT_LABEL_STUDIO_URL": settings.label_studio_url,
        "REGIONTEXT_LABEL_STUDIO_API_KEY": _plain(settings.label_studio_api_key),
        "REGIONTEXT_MODEL_URL": settings.model_url,
        "REGIONTEXT_WEBHOOK_SECRET": _plain(settings.webhook_secret),
        "REGIONTEXT_HOLDOUT": "0",
        "REGIONTEXT_CONTROL": "0",
        "REGIONTEXT_PORT": str(settings.port),
        "REGIONTEXT_LOG_LEVEL": "ERROR",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "backend.cli", "serve", "--data-dir", str(settings.data_dir)],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    for _ in range(300 if wait else 0):
        with suppress(httpx.HTTPError):
            if httpx.get(f"{settings.reachable_url}/health", timeout=1).is_success:
                break
        time.sleep(0.1)
    return process


def _plain(secret: Any) -> str:
    return str(secret.get_secret_value())


def _project(client: httpx.Client, settings: Settings) -> tuple[int, list[int], int]:
    xml = files("templates").joinpath("attributes.xml").read_text()
    made = client.post("/api/projects", json={"title": "kills", "label_config": xml})
    project = int(made.raise_for_status().json()["id"])
    for number in range(TASKS):
        upload = {"file": (f"{number}.png", photo(seed=number), "image/png")}
        client.post(f"/api/projects/{project}/import", files=upload).raise_for_status()
    connect(client, project, settings.reachable_url, secret=_plain(settings.webhook_secret))
    query = {"project": project, "page_size": 100, "fields": "all"}
    tasks = client.get("/api/tasks", params=query).json()["tasks"]
    (entry,) = client.get("/api/ml", params={"project": project}).json()
    return project, [int(task["id"]) for task in tasks], int(entry["id"])


def _annotate(
    server: LabelStudioServer,
    tasks: list[int],
    entry: int,
    done: Submitted,
    stop: threading.Event,
    rng: random.Random,
) -> None:
    """Draw, submit, change and delete, as a person does, but without pause."""
    mine: list[int] = []
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=60) as client:
        while not stop.is_set():
            task = rng.choice(tasks)
            shape = _shape(f"r{rng.randrange(10**9)}")
            # A slow answer is no reason to go home.
            with suppress(httpx.HTTPError):
                _draw(client, entry, task, shape, done)
            words = f"a thing {rng.randrange(10**6)}"
            body = {"result": [shape, _caption(shape, words)]}
            act = rng.random()
            if act < 0.6 or not mine:
                with suppress(httpx.HTTPError):
                    answer = client.post(f"/api/tasks/{task}/annotations", json=body)
                    if answer.status_code == 201:
                        mine.append(int(answer.json()["id"]))
                        done.captions[mine[-1]] = words
                continue
            chosen = mine.pop(rng.randrange(len(mine)))
            address, change = f"/api/annotations/{chosen}", act < 0.85
            try:
                answer = client.patch(address, json=body) if change else client.delete(address)
                known = answer.is_success
            except httpx.HTTPError:
                known = False
            if not known:
                done.doubt(chosen)
            else:
                done.captions[chosen] = words if change else None
                mine += [chosen] if change else []


def _draw(
    client: httpx.Client, entry: int, task: int, shape: dict[str, Any], done: Submitted
) -> None:
    answer = client.post(
        f"/api/ml/{entry}/interactive-annotating",
        json={"task": task, "context": {"result": [shape]}},
    )
    # With the backend gone Label Studio says so, and the page keeps the region as it is.
    found = answer.json() if answer.is_success else {}
    if "data" in found:
        done.drawn += 1
        done.lost += not any(i.get("id") == shape["id"] for i in found["data"]["result"])


def _shape(id: str) -> dict[str, Any]:
    value = {"x": 10, "y": 10, "width": 30, "height": 40, "rotation": 0}
    return {
        "id": id, "from_name": "rectangle", "to_name": "image", "type": "rectanglelabels",
        "original_width": 800, "original_height": 600, "image_rotation": 0,
        "value": value | {"rectanglelabels": ["Object"]},
    }  # fmt: skip


def _caption(shape: dict[str, Any], words: str) -> dict[str, Any]:
    value = {k: v for k, v in shape["value"].items() if k != "rectanglelabels"}
    return shape | {"from_name": "caption", "type": "textarea", "value": value | {"text": [words]}}


def _compare(settings: Settings, done: Submitted) -> tuple[int, int, int]:
    """How many annotations are missing, there more than once, or not as they were acknowledged last."""
    store = open_store(settings.database_url)
    with store.read() as session:
        rows = list(session.scalars(select(AnnotationRow)))
        ids = list(session.scalars(select(SuggestionRow.id)))
    store.close()
    assert len(ids) == len(set(ids))
    kept = {row.id: row for row in rows}
    doubled = len(rows) - len(kept)
    missing = stale = 0
    for id, words in done.captions.items():
        row = kept.get(id)
        if row is None:
            # Never seen by a webhook, and gone before anything asked: nothing to keep.
            missing += words is not None
        else:
            says = [item["value"].get("text") for item in row.result]
            stale += row.deleted != (words is None) or (words is not None and [words] not in says)
    return missing, doubled, stale


if __name__ == "__main__":
    main()
