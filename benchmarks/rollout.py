"""Promoting and rolling back while people draw: does any question fail, and does each answer say whose it is?

    python -m benchmarks.rollout [--quick] [--rate 20]

The real model server (a process of its own, one thread) with the bundled model and two adapters made here; the real
backend's way to an answer (`serving.served`, rendering, the wire, the store); 20 questions a second, by the clock,
whatever the answers take. Meanwhile the registry promotes one adapter, then the other, and rolls back twice, over and
over (every 2.2 s: the backend notices within 2); what is retired lingers for a minute, as in the product.

* `rollout_failed`: questions that got no answer, or whose answer is not what the version that it names says to that
  question when asked alone (the adapters are made so that they differ).
* `rollout_late`: questions answered after the product's 8 s while versions change, in percent (printed beside: the
  same without changes, which tells how busy the machine is).
* `rollout_rate`: questions per second that were asked, of 20 (`--rate` on a machine that cannot answer as many).
* `rollback_ms`, `promote_ms`: the longest change, adapter loaded and all.
* `rollout_p95_ratio`: the 95th percentile of the time to an answer around the changes, over that without changes.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from PIL import Image, ImageDraw

from backend import registry
from backend.assistant import Assistant, Picture, answer, look_at
from backend.images import Images
from backend.jobs.runs import record_result, register
from backend.model_client import client_of
from backend.serving import refresh, served
from backend.settings import Settings
from backend.store import open_store
from benchmarks.report import Claim, report
from model_server.folder import BUNDLED
from regiontext.labelstudio.config import parse_config
from regiontext.questions.templates import field_question
from regiontext.region import Region

__all__ = ["main"]

RATE = 20.0
# The backend looks at the registry every two seconds.
NOTICED_S = 2.2
# On a machine that others use too, a question may wait longer than the 8 s of the product without anything failing;
# those are counted apart, beside the quiet phase's.
BUDGET_S, PATIENCE_S = 8.0, 60.0
CONFIG = """<View><Image name="img" value="$image"/>
<RectangleLabels name="rect" toName="img"><Label value="Thing"/></RectangleLabels>
<TextArea name="caption" toName="img" perRegion="true"/></View>"""
COLOURS = ("red", "green", "blue", "orange", "purple", "grey")
ENV = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@dataclass
class Asked:
    """One question: which of the pictures, when, how long it took, what came, from which version."""

    picture: int
    at: float
    seconds: float = 0.0
    text: str | None = None
    version: str = ""


def adapters(folder: Path) -> list[Path]:
    """Two adapters of the bundled model, in a process of its own: torch has no place in this one."""
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from transformers import AutoModelForImageTextToText as M\n"
        "from model_server.training.finetune_lora import add_lora\n"
        "base, folder = sys.argv[1], Path(sys.argv[2])\n"
        "for seed in (1, 2):\n"
        "    torch.manual_seed(seed)\n"
        "    lora = add_lora(M.from_pretrained(base), rank=8, targets='all', base=base)\n"
        "    with torch.no_grad():\n"
        "        for name, weight in lora.named_parameters():\n"
        "            if 'lora_B' in name: weight.normal_(std=0.1)\n"
        "    lora.save_pretrained(folder / f'{seed:04d}' / 'adapter')\n"
    )
    command = [sys.executable, "-c", code, str(BUNDLED), str(folder)]
    subprocess.run(command, check=True, env=os.environ | ENV, stdout=subprocess.DEVNULL)
    return [folder / f"{seed:04d}" / "adapter" for seed in (1, 2)]


@asynccontextmanager
async def model_server(folder: Path) -> AsyncIterator[str]:
    """The real server with the bundled model; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "server.log").open("wb")
    command = [sys.executable, "-m", "model_server", "--port", str(port), "--threads", "1"]
    process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | ENV)
    try:
        async with httpx.AsyncClient() as http:
            for _ in range(600):
                try:
                    if (await http.get(f"http://127.0.0.1:{port}/ready")).status_code == 200:
                        break
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.5)
            else:
                raise RuntimeError(f"the model server did not start; see {log.name}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def painted(number: int) -> bytes:
    """A small picture of one thing."""
    image = Image.new("RGB", (160, 120), "white")
    pen = ImageDraw.Draw(image)
    shape = (pen.ellipse, pen.rectangle)[number % 2]
    shape((40, 30, 110 + number, 90), fill=COLOURS[number % len(COLOURS)])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


class Bench:
    """The backend's way to an answer, and the clock that asks."""

    def __init__(self, assistant: Assistant, pictures: list[Picture]) -> None:
        self.assistant, self.pictures = assistant, pictures
        self.config = parse_config(CONFIG)
        field = self.config.field("caption")
        assert field is not None
        self.question = field_question(field, "r")
        self.asked: list[Asked] = []

    async def ask(self, number: int) -> Asked:
        """One question, as the drawing of a region asks it."""
        began = time.monotonic()
        one = Asked(number % len(self.pictures), began)
        picture = self.pictures[one.picture]
        region = Region.from_box("r", (38, 28, 118, 92), picture.image.size, ["Thing"])
        found = await answer(
            self.assistant,
            picture,
            project=1,
            task=one.picture + 1,
            regions=[region],
            config=self.config,
            questions=[self.question],
            path="interactive",
            deadline=began + PATIENCE_S,
        )
        one.seconds = time.monotonic() - began
        for suggestion in found.suggestions:
            one.text, one.version = suggestion.value[0], suggestion.model_version
        for failure in found.failures.values():
            print("failed:", failure.reason)
        return one

    async def steadily(self, seconds: float, rate: float) -> list[Asked]:
        """Ask by the clock, whatever the answers take."""
        began, tasks = time.monotonic(), []
        for number in range(int(seconds * rate)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            tasks.append(asyncio.create_task(self.ask(number)))
        return list(await asyncio.gather(*tasks))


async def measure(folder: Path, *, seconds: float, rate: float) -> list[Claim]:
    """Serve, ask, change, compare."""
    made = await asyncio.to_thread(adapters, folder)
    async with model_server(folder) as url:
        settings = Settings(
            model_url=url, data_dir=folder / "data", holdout=0, control=0, _env_file=None
        )
        store = open_store(settings.database_url)
        async with client_of(settings) as client, Images(settings) as images:
            base = (await refresh(settings, store, client)).base
            names = [f"{base}:{path.parent.name}" for path in made]
            for name, path in zip(names, made, strict=True):
                register(store, name, base=base, adapter=path, run_dir=path.parent)
                record_result(store, name, {"reason": "made for the benchmark"}, promote=False)
            assistant = Assistant(settings, store, images, client)
            pictures = [
                await look_at(assistant, painted(n), project=1, task=n + 1) for n in range(6)
            ]
            bench = Bench(assistant, pictures)

            # What each version says when nothing else goes on.
            truth: dict[str, list[str | None]] = {}
            for name in (None, *names):
                if name is not None:
                    await registry.promote(store, client, name)
                    await asyncio.sleep(NOTICED_S)
                said = [await bench.ask(number) for number in range(len(pictures))]
                if any(one.text is None for one in said):
                    raise RuntimeError("the server is too slow to say what each version says")
                truth[said[0].version] = [one.text for one in said]
            print("alone:", truth)
            if len({tuple(texts) for texts in truth.values()}) != len(truth):
                raise RuntimeError(
                    "the adapters say the same: the benchmark could not tell them apart"
                )
            while (now := served(settings, store)) is not None and now.adapter is not None:
                await registry.rollback(store, client, base)
            await asyncio.sleep(NOTICED_S)

            quiet = await bench.steadily(seconds / 3, rate)
            changes: dict[str, list[float]] = {"promote": [], "rollback": []}
            began = time.monotonic()
            asking = asyncio.create_task(bench.steadily(seconds, rate))
            while not asking.done():
                for name in (*names, None, None):
                    start = time.monotonic()
                    if name is not None:
                        await registry.promote(store, client, name)
                    else:
                        await registry.rollback(store, client, base)
                    changes["promote" if name else "rollback"].append(time.monotonic() - start)
                    # As the backend does every half minute; what was just retired lingers.
                    await registry.tidy(store, client, await client.models())
                    await asyncio.sleep(NOTICED_S)
            busy = await asking
            took = max(one.at for one in busy) - began
        store.close()
    lost = [one for one in busy if one.text is None]
    wrong = [
        one for one in busy if one.text is not None and truth[one.version][one.picture] != one.text
    ]
    by_version = {version: sum(one.version == version for one in busy) for version in truth}
    print(
        f"{len(busy)} questions, {sum(map(len, changes.values()))} changes; by version {by_version}"
    )
    print(f"no answer: {len(lost)}, not what the named version says: {len(wrong)}")
    for one in wrong[:3]:
        print(f"  {one.version} said {one.text!r}, alone {truth[one.version][one.picture]!r}")
    late = [100 * statistics.mean(o.seconds > BUDGET_S for o in part) for part in (quiet, busy)]
    p95 = [statistics.quantiles([o.seconds for o in part], n=20)[-1] for part in (quiet, busy)]
    return [
        Claim("rollout_failed", len(lost) + len(wrong), "questions", "failed or misnamed", 0, True),
        Claim("rollout_late", late[1], "%", f"after 8 s; {late[0]:.1f} % without changes"),
        Claim("rollout_rate", (len(busy) - 1) / took, "per s", "asked", 0.95 * rate),
        Claim("rollback_ms", 1000 * max(changes["rollback"]), "ms", "longest", 5000, True),
        Claim("promote_ms", 1000 * max(changes["promote"]), "ms", "longest", 5000, True),
        Claim("rollout_p95_ratio", p95[1] / p95[0], "x", f"{1000 * p95[1]:.0f} ms beside quiet"),
    ]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="nine seconds")
    parser.add_argument("--rate", type=float, default=RATE, help="questions per second (20)")
    given = parser.parse_args()
    quick, rate = given.quick, given.rate
    with tempfile.TemporaryDirectory() as folder:
        claims = asyncio.run(measure(Path(folder), seconds=9 if quick else 45, rate=rate))
    report("promoting and rolling back under load", claims)


if __name__ == "__main__":
    main()
