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
  alone and over bare `generate` of transformers on inputs that are ready, in float32 or bfloat16, whichever is faster.

The precision is `--dtype` for ours and `--peer-dtype` for the peer; auto is what a user gets: float32 here, with
products in bfloat16 where the CPU multiplies it, and that of the checkpoint (bfloat16) there. How many answers are
the same is printed with each ratio, and so is how long each server's processor was at work for a request, which moves
less than the ratio where others use the machine.
"""

from __future__ import annotations

import argparse
import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from benchmarks.report import Claim, report
from benchmarks.server_adapters import adapter_costs
from benchmarks.server_processes import Ask, Server, data_url, our_server, peer_server, post, wait
from benchmarks.server_questions import AskedView, enough, views
from model_server.folder import BUNDLED

__all__ = ["main"]

ENV = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--dtype", default="auto", help="ours: auto, float32, mixed or bfloat16")
    parser.add_argument("--peer-dtype", default="auto", help="auto, float32 or bfloat16")
    args = parser.parse_args()
    os.environ.update(ENV)
    rounds, scale = (1, 0.25) if args.quick else (4, 1.0)
    with ExitStack() as stack:
        started = [
            stack.enter_context(server)
            for server in (our_server(args.dtype), peer_server(args.peer_dtype))
        ]
        ours, peer = started
        pictures = views()
        claims = _throughput(ours, peer, pictures, rounds, scale)
        claims += _latency(ours, next(pictures), 3 if args.quick else 30)
    claims += adapter_costs([next(pictures) for _ in range(8)], 3 if args.quick else 25)
    report("The model server beside transformers serve, one thread each", claims)


def _throughput(
    ours: Server, peer: Server, pictures: Iterator[AskedView], rounds: int, scale: float
) -> list[Claim]:
    for server in (ours, peer):
        wait(server)
    work: list[tuple[str, int, int, float, Callable[[AskedView], list[Ask]], str]] = [
        ("rps_c1", 1, 12, 1.1, AskedView.caption, "1 client"),
        ("rps_c8", 8, 48, 2.5, AskedView.caption, "8 clients"),
        ("rps_c32", 32, 96, 2.8, AskedView.caption, "32 clients"),
        ("rps_shared", 8, 96, 8.0, AskedView.open, "8 clients, 4 questions a picture"),
        ("rps_closed", 8, 96, 10.0, AskedView.six, "8 clients, scored, 6 options"),
    ]
    for questions in (AskedView.caption, AskedView.open, AskedView.six):  # nobody is measured cold
        asked = enough(pictures, questions, 16)
        for server in (peer, ours):
            _rate(server, asked, 8)
    same: dict[str, list[bool]] = {key: [] for key, *_ in work}
    for _ in range(rounds):
        for key, clients, count, _, questions, _ in work:
            asked = enough(pictures, questions, max(clients, round(count * scale)))
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
            said = post(connection, bodies[place])
            answers[place] = said["choices"][0]["message"]["content"].strip()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(bodies) / (time.perf_counter() - start), answers


def _latency(ours: Server, view: AskedView, times: int) -> list[Claim]:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    models = [
        AutoModelForImageTextToText.from_pretrained(BUNDLED, dtype=dtype).eval()
        for dtype in (torch.float32, torch.bfloat16)
    ]
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
        body = ours.body(Ask(data_url(changed), ask.prompt), max_tokens=12, min_tokens=12)
        start = time.perf_counter()
        said = post(connection, body)
        whole.append(time.perf_counter() - start)
        assert said["usage"]["completion_tokens"] == 12, said
        for model in models:
            pixels = inputs["pixel_values"].to(model.dtype)
            start = time.perf_counter()
            with torch.inference_mode():
                model.generate(
                    **{**inputs, "pixel_values": pixels},
                    max_new_tokens=12,
                    min_new_tokens=12,
                    do_sample=False,
                )
            bare.append(time.perf_counter() - start)
    best, plain = min(whole[2:]), min(bare[4:])
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


if __name__ == "__main__":
    main()
