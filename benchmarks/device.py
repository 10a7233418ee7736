"""A model on a device, a GPU where there is one: our engine beside plain `generate` of transformers.

    python -m benchmarks.device [--shape bundled|7b|tiny] [--device auto] [--dtype auto] [--quick]

`bundled` is the model that ships; `7b` has the layout of llava-hf/vip-llava-7b-hf with random weights made on the
device (13 GiB in bfloat16, nothing is downloaded); `tiny` is that layout shrunk, to try the command on any CPU. Both
sides run the same weights in this process, in turns, on the same questions, which are tokens and pixels already; HTTP
is not part of it (`benchmarks.server` measures that on a CPU). Figures are of the best rounds; none has a bar:

* `rps_1`, `rps_8`, `rps_32`: batches of so many captions of 12 tokens, each of its own picture.
* `rps_shared`: a batch of four open questions about each of 8 pictures, answers of 12 tokens.
* `rps_closed`: a batch of three closed questions with six options about each of 8 pictures. Ours scores the options;
  `generate` may decode as many tokens as the longest has.
* `latency_ms`: one caption of 12 tokens.
* `tokens_s_N`: tokens a second while N captions are decoded: what longer answers take more than those of one token.
* `bandwidth_share_N`: bytes that a step of it has to read (weights of the decoder, keys and values of the rows so far)
  over the time of a step, as a share of what the device copies in a second, measured here. A model that fits a
  processor's cache can be above 1.
* `peak_gib_ours`, `peak_gib_generate`: memory of the device while the largest batch is answered, weights included; on a
  CPU `peak_gib_process`, of both.
* `same_answers`: share of the open answers whose tokens are the same on both sides: all of them in float32, not always
  in bfloat16.

With `_ratio` behind it, a key is ours over `generate`, requests or tokens a second. Batches that do not fit the device
are left out and named.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
import transformers
from transformers.utils import logging

from benchmarks.device_models import SHAPES, Refused, build, free_bytes, pick, row_bytes
from benchmarks.device_sides import Answer, Question, Sides, copy_bandwidth, peak_bytes
from benchmarks.report import Claim, report
from benchmarks.server_questions import AskedView, views
from model_server.errors import ModelFolderError

__all__ = ["main", "measure"]

TOKENS = 12
WARM = 3  # code that is compiled for its inputs settles in its third run
_GIB = 2**30


@dataclass(eq=False)
class _Work:
    """A batch, asked of both sides in every round."""

    key: str
    what: str
    asked: Sequence[Question]
    ours: Answer
    generate: Answer
    closed: bool
    best: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("ours", "generate"), 1e9))
    same: list[bool] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print; ends with one line where this model cannot be measured here."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="bundled")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    args = parser.parse_args(argv)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        device, dtype = pick(args.device, args.dtype, args.shape)
        model, processor = build(args.shape, device, dtype)
    except (Refused, ModelFolderError) as error:
        raise SystemExit(f"benchmarks.device: {error}") from None
    weights = sum(weight.nbytes for weight in model.parameters()) / _GIB
    print(
        f"{args.shape} ({weights:.3g} GiB) in {dtype} on {_named(device)}; "
        f"torch {torch.__version__}, transformers {transformers.__version__}"
    )
    claims = measure(Sides(model, processor), rounds=1 if args.quick else 5)
    report("Our engine beside plain generate, on one device", claims)


def measure(sides: Sides, *, rounds: int) -> list[Claim]:
    """All claims about a model, of the best of so many rounds behind those that warm up."""
    pictures = views()
    row = row_bytes(sides.model.config, sides.model.dtype)
    room = max(1, free_bytes(sides.device) // row)
    works = list(_fitting(_works(sides, pictures), room))
    for turn in range(WARM + rounds):
        for work in works:
            took, ours = sides.seconds(work.ours)
            sides.forget()
            peer_took, theirs = sides.seconds(work.generate)
            if turn >= WARM:
                work.best["ours"] = min(work.best["ours"], took)
                work.best["generate"] = min(work.best["generate"], peer_took)
                work.same += [a == b for a, b in zip(ours, theirs, strict=True)]
    claims = [claim for work in works for claim in _rates(work)]
    claims += _latency(works[0])
    bandwidth = copy_bandwidth(sides.device, _copied(sides.device))
    what = "read and written while it copies"
    claims.append(Claim("copy_gb_s", bandwidth / 1e9, "GB/s", what))
    captions = [work for work in works if work.key.removeprefix("rps_").isdigit()]
    for work in dict.fromkeys((captions[0], captions[-1])):
        claims += _decoding(sides, work.asked, bandwidth, rounds)
    claims += _memory(sides, captions[-1])
    same = [same for work in works if not work.closed for same in work.same]
    what = f"open answers with the same tokens: {sum(same)} of {len(same)}"
    return [*claims, Claim("same_answers", sum(same) / len(same), "", what)]


def _works(sides: Sides, pictures: Iterator[AskedView]) -> Iterator[_Work]:
    for count in (1, 8, 32):
        asked = [_one(view, view.caption()[0]) for view in islice(pictures, count)]
        yield _work(
            sides,
            f"rps_{count}",
            "one caption" if count == 1 else f"a batch of {count} captions",
            asked,
        )
    eight = list(islice(pictures, 8))
    asked = [_one(view, ask) for view in eight for ask in view.open()]
    yield _work(sides, "rps_shared", "4 questions about each of 8 pictures", asked)
    closed = [_one(view, ask) for view in eight for ask in view.six()]
    yield _work(sides, "rps_closed", "3 closed questions about each of 8 pictures", closed)


def _one(view: AskedView, ask: Any) -> Question:
    return Question(view.image, ask.prompt, ask.options)


def _work(sides: Sides, key: str, what: str, asked: Sequence[Question]) -> _Work:
    closed = bool(asked[0].options)
    longest = sides.longest_option(asked) if closed else TOKENS
    generate = sides.generate(asked, longest, exactly=not closed)
    return _Work(key, what, asked, sides.ours(asked, TOKENS), generate, closed)


def _fitting(works: Iterator[_Work], room: int) -> Iterator[_Work]:
    for work in works:
        if len(work.asked) <= room:
            yield work
        else:
            print(f"left out, {len(work.asked)} questions do not fit the memory: {work.key}")


def _rates(work: _Work) -> list[Claim]:
    ours, peer = (len(work.asked) / work.best[side] for side in ("ours", "generate"))
    beside = f"{ours:.1f}/s beside {peer:.1f}/s"
    return [
        Claim(work.key, ours, "/s", f"{work.what}, ours"),
        Claim(f"{work.key}_ratio", ours / peer, "x", f"{work.what}: {beside}"),
    ]


def _latency(work: _Work) -> list[Claim]:
    ours, peer = (1000 * work.best[side] for side in ("ours", "generate"))
    what = f"one caption of {TOKENS} tokens"
    return [
        Claim("latency_ms", ours, "ms", f"{what}: {ours:.1f} ms beside {peer:.1f} ms"),
    ]


def _decoding(
    sides: Sides, asked: Sequence[Question], bandwidth: float, rounds: int
) -> list[Claim]:
    """Tokens a second and the share of the bandwidth, of the time that `steps` tokens add to one."""
    steps, count = 64, len(asked)
    best: dict[tuple[str, int], float] = {}
    made = {
        (side, tokens): getattr(sides, side)(asked, tokens)
        for side in ("ours", "generate")
        for tokens in (1, 1 + steps)
    }
    for turn in range(WARM + rounds):
        for key, answer in made.items():
            took, _ = sides.seconds(answer)
            sides.forget()
            if turn >= WARM:
                best[key] = min(took, best.get(key, took))
    step = {
        side: max(best[side, 1 + steps] - best[side, 1], 1e-9) / steps
        for side in ("ours", "generate")
    }
    read = sides.step_bytes(sides.length(asked) + count * (1 + steps // 2))
    share = {side: read / took / bandwidth for side, took in step.items()}
    ours, peer = (count / step[side] for side in ("ours", "generate"))
    what = "1 row" if count == 1 else f"{count} rows"
    return [
        Claim(f"tokens_s_{count}", ours, "/s", f"tokens decoded, {what}, ours"),
        Claim(
            f"tokens_s_{count}_ratio",
            ours / peer,
            "x",
            f"tokens decoded, {what}: {ours:.0f}/s beside {peer:.0f}/s",
        ),
        Claim(
            f"bandwidth_share_{count}",
            share["ours"],
            "",
            f"of the copy bandwidth, {what}, {read / 1e6:.4g} MB a step: "
            f"{share['ours']:.2f} beside {share['generate']:.2f}",
        ),
    ]


def _memory(sides: Sides, work: _Work) -> list[Claim]:
    if sides.device.type == "cpu":
        # Of the process since it began, which does not tell the sides apart.
        peak = peak_bytes(sides.device, work.ours) / _GIB
        return [Claim("peak_gib_process", peak, "GiB", "memory of the process, both sides in it")]
    found = []
    for side, answer in (("ours", work.ours), ("generate", work.generate)):
        sides.forget()
        peak = peak_bytes(sides.device, answer) / _GIB
        found.append(Claim(f"peak_gib_{side}", peak, "GiB", f"memory, {work.what}, {side}"))
    return found


def _copied(device: torch.device) -> int:
    most = _GIB if device.type == "cuda" else _GIB // 4
    return max(1 << 20, min(most, free_bytes(device) // 8))


def _named(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple GPU ({platform.machine()})"
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


if __name__ == "__main__":
    main()
