"""Fine-tune a model on corrected records: `python -m model_server.training.finetune`.

A plain LoRA loop in torch and peft: it starts seconds sooner than a trainer framework and its batches
mix new examples with replay of what the model already knows in a fixed ratio, because without replay
a small model answers the new word to everything. Preference pairs, where asked for, follow in the
same loop. Progress goes to stdout as JSON lines ``{"step", "of", "loss", "phase", "eta_s"}``; the
adapter folder appears by rename when it is complete. Knows nothing of Label Studio.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from model_server.errors import ModelServerError
from model_server.folder import find_model
from model_server.training.finetune_settings import Settings, settings_for

__all__ = ["main"]

_MODULE = "model_server.training.finetune"

_TUNED = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "-1",
    "OMP_WAIT_POLICY": "passive",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(given)
    if args.leashed:
        threading.Thread(target=_end_with_starter, daemon=True).start()
    try:
        base = find_model(args.base)
        names = Settings.__dataclass_fields__
        settings = settings_for(base, {name: getattr(args, name) for name in names})
        # After the arguments are known to be right: torch takes seconds to import.
        import torch

        from model_server.training.finetune_loop import finetune
        from model_server.training.finetune_ranks import joined, restart_on_all

        restart_on_all(_MODULE, args.device, given)
        if args.threads:
            torch.set_num_threads(args.threads)
        with joined() as ranks:
            if base.world is None and ranks.first:
                print(
                    "This model names no world to replay: records that it gets right already are "
                    "what keeps it from forgetting.",
                    file=sys.stderr,
                )
            finetune(
                base,
                args.data,
                args.out.absolute(),
                settings,
                resume=args.resume,
                save_every=args.save_every,
                device=args.device,
                ranks=ranks,
                progress=_tell,
            )
    except ModelServerError as error:
        print(f"finetune: {error}", file=sys.stderr)
        return 2
    return 0


def _end_with_starter() -> None:
    """End at once when standard input closes: whoever started this is gone, and may start it again."""
    # Not through sys.stdin: a thread that waits in it aborts the interpreter when that ends by itself.
    while os.read(0, 1024):
        pass
    os._exit(1)


def _tell(step: int, of: int, loss: float, phase: str, eta_s: float | None) -> None:
    told = {"step": step, "of": of, "loss": round(loss, 4), "phase": phase}
    print(json.dumps(told | {"eta_s": eta_s and round(eta_s, 1)}), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {_MODULE}",
        description="Train a LoRA adapter on corrected records. Settings left out come from the "
        "model's regiontext.json, then from the defaults.",
    )
    parser.add_argument("--base", required=True, help="model folder or hub id")
    parser.add_argument("--data", required=True, type=Path, help="folder with train.jsonl")
    parser.add_argument("--out", required=True, type=Path, help="adapter folder to write")
    defaults = Settings()
    for name in Settings.__dataclass_fields__:
        default = getattr(defaults, name)
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, dest=name, type=type(default), help=f"default {default}")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--device", default="auto", help="default auto: all GPUs, else the CPU")
    parser.add_argument("--save-every", type=int, default=25, help="steps between checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--leashed", action="store_true", help="end when standard input closes, with the starter"
    )
    return parser


def _restart_tuned() -> None:
    """Start again with an allocator that keeps its memory and threads that sleep while they wait.

    The first is about three times the speed on a CPU; the second keeps the run from crawling when
    another process wants the same cores. Before torch is imported, so that it costs nothing.
    """
    missing = {name: value for name, value in _TUNED.items() if name not in os.environ}
    if sys.platform == "linux" and missing:
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **missing})


if __name__ == "__main__":
    _restart_tuned()
    sys.exit(main())
