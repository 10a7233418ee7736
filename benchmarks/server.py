"""The model server beside `transformers serve`: requests per second, and what adapters and a single answer cost.

    python -m benchmarks.server [--quick] [--dtype auto] [--peer-dtype auto]

Both are real HTTP servers in processes of their own with one thread each, serve the bundled model and are
asked in turns about the same pictures: views of generated scenes as the product renders them (seed 4242),
sent as PNG data URLs. No picture is used in two rounds, so nothing is remembered between them. The ratio is
that of the best rounds.

* `rps_c1`, `rps_c8`, `rps_c32`: one caption for each picture, by 1, 8 and 32 clients.
* `rps_shared`: 8 clients, four open questions for each picture (caption, size, colour, material).
* `rps_closed`: 8 clients, closed questions with six options (colour, material, shape of each picture). Ours scores
  the options; the peer is shown them in the prompt, as ours is, and decodes.
* `adapter_cost_merged`, `adapter_cost_mixed`: time for a batch of 8 captions with one adapter that is merged, and
  with three adapters and the base model side by side, over that of the base model. In this process.
* `latency_ms`, `latency_ratio`: one caption of exactly 12 tokens as a whole HTTP request (PNG, tokens, tower, answer),
  alone and over bare `generate` of transformers on inputs that are ready, float32, one thread.

The precision is `--dtype` for ours and `--peer-dtype` for the peer; auto is what a user gets, float32 here and that
of the checkpoint (bfloat16) there. How many answers are the same is printed with each ratio, and so is how long
each server's processor was at work for a request, which moves less than the ratio where others use the machine.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from benchmarks.report import Claim, report
from model_server.folder import BUNDLED, find_model
from model_server.worlds.samples import examples
from model_server.worlds.turns import Turn
from regiontext.marks.view import View
from regiontext.questions.prompt import CHOOSE

__all__ = ["main"]

SEED = 4242
OPEN = ("size", "colour", "material")
CLOSED = ("colour", "material", "shape")
ENV = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Ask:
    """One question about one picture."""

    url: str
    prompt: str
    options: tuple[str, ...] = ()


@dataclass
class Server:
    """A server, by workload how fast it answered in its best round, and its least milliseconds of processor each."""

    port: int
    model: str
    closed: bool
    process: psutil.Process
    best: dict[str, float] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)

    def body(self, ask: Ask, **more: Any) -> bytes:
        """The request; options only where they are understood."""
        parts = [
            {"type": "image_url", "image_url": {"url": ask.url}},
            {"type": "text", "text": ask.prompt},
        ]
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": parts}],
            "max_tokens": 24,
            "temperature": 0,
            **more,
        }
        if ask.options and self.closed:
            body["structured_outputs"] = {"choice": list(ask.options)}
        return json.dumps(body).encode()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--dtype", default="auto", help="ours: auto, float32 or bfloat16")
    parser.add_argument("--peer-dtype", default="auto", help="auto, float32 or bfloat16")
    args = parser.parse_args()
    os.environ.update(ENV)
    rounds, scale = (1, 0.25) if args.quick else (4, 1.0)
    with ExitStack() as stack:
        started = [
            stack.enter_context(server) for server in (_ours(args.dtype), _peer(args.peer_dtype))
        ]
        ours, peer = started
        pictures = _pictures()
        claims = _throughput(ours, peer, pictures, rounds, scale)
        claims += _latency(ours, next(pictures), 3 if args.quick else 30)
    claims += _adapters([next(pictures) for _ in range(8)], 3 if args.quick else 25)
    report("The model server beside transformers serve, one thread each", claims)


# Servers.


@contextmanager
def _ours(dtype: str) -> Iterator[Server]:
    name = find_model(BUNDLED).name
    port = _free_port()
    command = ["model_server", "--device", "cpu", "--threads", "1", "--dtype", dtype]
    with _running([sys.executable, "-m", *command, "--port", str(port)]) as process:
        yield Server(port, name, closed=True, process=process)


@contextmanager
def _peer(dtype: str) -> Iterator[Server]:
    port = _free_port()
    command = ["transformers.cli.transformers", "serve", str(BUNDLED), "--dtype", dtype]
    with _running(
        [sys.executable, "-m", *command, "--device", "cpu", "--port", str(port)]
    ) as process:
        yield Server(port, str(BUNDLED), closed=False, process=process)


@contextmanager
def _running(command: list[str]) -> Iterator[psutil.Process]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _wait(server: Server, process_s: float = 600.0) -> None:
    """Until it answers a question."""
    image = Image.new("RGB", (64, 64), (90, 120, 40))
    body = server.body(Ask(_data_url(image), "Describe the object."))
    deadline = time.monotonic() + process_s
    while time.monotonic() < deadline:
        try:
            if "choices" in _post(http.client.HTTPConnection("localhost", server.port), body):
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the server on port {server.port} did not answer within {process_s:.0f} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


# Requests per second.


def _throughput(
    ours: Server, peer: Server, pictures: Iterator[_View], rounds: int, scale: float
) -> list[Claim]:
    for server in (ours, peer):
        _wait(server)
    work: list[tuple[str, int, int, float, Callable[[_View], list[Ask]], str]] = [
        ("rps_c1", 1, 12, 1.1, _View.caption, "1 client"),
        ("rps_c8", 8, 48, 2.5, _View.caption, "8 clients"),
        ("rps_c32", 32, 96, 2.8, _View.caption, "32 clients"),
        ("rps_shared", 8, 96, 8.0, _View.open, "8 clients, 4 questions a picture"),
        ("rps_closed", 8, 96, 10.0, _View.six, "8 clients, scored, 6 options"),
    ]
    for questions in (_View.caption, _View.open, _View.six):  # nobody is measured cold
        asked = _enough(pictures, questions, 16)
        for server in (peer, ours):
            _rate(server, asked, 8)
    same: dict[str, list[bool]] = {key: [] for key, *_ in work}
    for _ in range(rounds):
        for key, clients, count, _, questions, _ in work:
            asked = _enough(pictures, questions, max(clients, round(count * scale)))
            answers = []
            for server in (peer, ours):
                worked = sum(server.process.cpu_times()[:2])
                rate, said = _rate(server, asked, clients)
                worked = 1000 * (sum(server.process.cpu_times()[:2]) - worked) / len(asked)
                server.best[key] = max(rate, server.best.get(key, 0.0))
                server.work[key] = min(worked, server.work.get(key, worked))
                answers.append(said)
            same[key] += [a == b for a, b in zip(*answers, strict=True)]
    return [
        Claim(
            key,
            ours.best[key] / peer.best[key],
            "x",
            f"{what}: {ours.best[key]:.0f}/s beside {peer.best[key]:.0f}/s, "
            f"processor {ours.work[key]:.1f} beside {peer.work[key]:.1f} ms each, "
            f"{sum(same[key])} of {len(same[key])} answers the same",
            bar=bar,
        )
        for key, _, _, bar, _, what in work
    ]


def _rate(server: Server, asked: Sequence[Ask], clients: int) -> tuple[float, list[str]]:
    """Requests per second, and the answers."""
    bodies = [server.body(ask) for ask in asked]
    answers = [""] * len(bodies)
    waiting = iter(range(len(bodies)))
    lock = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection("localhost", server.port)
        while True:
            with lock:
                place = next(waiting, None)
            if place is None:
                return
            said = _post(connection, bodies[place])
            answers[place] = said["choices"][0]["message"]["content"].strip()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(bodies) / (time.perf_counter() - start), answers


def _post(connection: http.client.HTTPConnection, body: bytes) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    return json.loads(connection.getresponse().read())  # type: ignore[no-any-return]


# Pictures and questions.


@dataclass(frozen=True, eq=False)
class _View:
    """A rendered view with what is asked about it."""

    image: Image.Image
    url: str
    turns: tuple[Turn, ...]

    def caption(self) -> list[Ask]:
        """One caption."""
        return [Ask(self.url, turn.prompt) for turn in self.turns if turn.kind == "caption"]

    def open(self) -> list[Ask]:
        """Four open questions."""
        named = [turn for turn in self.turns if turn.kind == "attribute"]
        asked = [turn.prompt for name in OPEN for turn in named if turn.attribute == name]
        return [*self.caption(), *(Ask(self.url, prompt) for prompt in asked)]

    def six(self) -> list[Ask]:
        """Closed questions, each with the right answer and five others."""
        asked = []
        for turn in self.turns:
            if turn.kind == "choice" and turn.attribute in CLOSED:
                others = [option for option in turn.options if option != turn.answer]
                options = tuple(sorted([turn.answer, *others[:5]]))
                listed = CHOOSE.replace("{options}", ", ".join(options))
                question = turn.prompt.partition(CHOOSE.partition("{")[0])[0]
                asked.append(Ask(self.url, question + listed, options))
        return asked


def _pictures() -> Iterator[_View]:
    about = json.loads((BUNDLED / "regiontext.json").read_text())
    view = View.from_dict(about["view"])
    for example in examples(SEED, view, training=False, kinds=("caption", "attribute", "choice")):
        (image,) = example.images
        yield _View(image, _data_url(image), tuple(example.turns))


def _enough(
    pictures: Iterator[_View], questions: Callable[[_View], list[Ask]], count: int
) -> list[Ask]:
    asked: list[Ask] = []
    while len(asked) < count:
        asked += questions(next(pictures))
    return asked


def _data_url(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


# One answer, and adapters.


def _latency(ours: Server, view: _View, times: int) -> list[Claim]:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    model = AutoModelForImageTextToText.from_pretrained(BUNDLED, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(BUNDLED)
    (ask,) = view.caption()
    chat = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": view.image},
                {"type": "text", "text": ask.prompt},
            ],
        }
    ]
    inputs = processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    connection = http.client.HTTPConnection("localhost", ours.port)
    whole, bare = [], []
    for turn in range(times + 2):
        changed = view.image.copy()  # a picture not seen before
        changed.putpixel((0, 0), (turn % 256, turn // 256, 0))
        body = ours.body(Ask(_data_url(changed), ask.prompt), max_tokens=12, min_tokens=12)
        start = time.perf_counter()
        said = _post(connection, body)
        whole.append(time.perf_counter() - start)
        assert said["usage"]["completion_tokens"] == 12, said
        start = time.perf_counter()
        with torch.inference_mode():
            model.generate(**inputs, max_new_tokens=12, min_new_tokens=12, do_sample=False)
        bare.append(time.perf_counter() - start)
    best, plain = min(whole[2:]), min(bare[2:])
    return [
        Claim("latency_ms", 1000 * best, "ms", "one caption of 12 tokens, the whole request"),
        Claim(
            "latency_ratio",
            best / plain,
            "x",
            f"the same over bare generate ({1000 * plain:.1f} ms)",
            bar=1.3,
            at_most=True,
        ),
    ]


def _adapters(views: list[_View], times: int) -> list[Claim]:
    import torch

    from model_server.batches import Job
    from model_server.families import open_model
    from model_server.families.chat import question_turn
    from model_server.jobs import Picture, Prompt, Sampling

    model: Any = open_model(find_model(BUNDLED), device="cpu", threads=1)
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate("abc"):
            model.load_adapter(name, _adapter(Path(folder) / name, seed))
    pictures = [Picture.of(view.image) for view in views]
    prompts = [
        Prompt(
            question_turn(1, view.caption()[0].prompt),
            [picture],
            sampling=Sampling(max_tokens=8, min_tokens=8),
        )
        for view, picture in zip(views, pictures, strict=True)
    ]
    ready = [model.prepare(prompt) for prompt in prompts]

    def seconds(names: Sequence[str | None]) -> float:
        jobs = [
            Job(prompt, name, ready=made)
            for prompt, name, made in zip(prompts, names, ready, strict=True)
        ]
        model.forget()
        start = time.perf_counter()
        model.answer(jobs)
        return time.perf_counter() - start

    batches: dict[str, list[str | None]] = {
        "base": [None] * 8,
        "merged": ["a"] * 8,
        "mixed": [None, None, "a", "a", "b", "b", "c", "c"],
    }
    model.merge("a")
    best = dict.fromkeys(batches, float("inf"))
    for _ in range(times):
        for key, names in batches.items():
            best[key] = min(best[key], seconds(names))
    torch.set_num_threads(1)
    return [
        Claim(
            f"adapter_cost_{key}",
            best[key] / best["base"],
            "x",
            f"{what}: {1000 * best[key]:.1f} ms beside {1000 * best['base']:.1f} ms",
            bar=bar,
            at_most=True,
        )
        for key, bar, what in (
            ("merged", 1.05, "8 captions, one adapter"),
            ("mixed", 2.2, "8 captions, 3 adapters and the base"),
        )
    ]


def _adapter(folder: Path, seed: int) -> Path:
    import torch
    from transformers import AutoModelForImageTextToText

    from model_server.training.finetune_lora import add_lora

    torch.manual_seed(seed)
    base = AutoModelForImageTextToText.from_pretrained(BUNDLED, dtype=torch.float32)
    lora = add_lora(base, rank=16, targets="all", base=str(BUNDLED))
    with torch.no_grad():
        for name, weight in lora.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.01)
    lora.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
