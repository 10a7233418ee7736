"""Stands in for model_server.training.finetune: reads what a run wrote, pretends to learn, writes an adapter."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path


def end_with_starter() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("base", "data", "out", "threads", "steps", "seed", "lr"):
        parser.add_argument(f"--{name}")
    for name in ("resume", "leashed"):
        parser.add_argument(f"--{name}", action="store_true")
    args = parser.parse_args()
    assert args.resume and args.leashed
    threading.Thread(target=end_with_starter, daemon=True).start()
    data = Path(args.data)
    lines = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    assert all((data / image).is_file() for line in lines for image in line["images"])
    print("a line that is no progress", flush=True)
    for step in (1, 2):
        every = os.environ.get("FAKE_TRAINER_S", "0")
        time.sleep(float(os.environ.get("FAKE_TRAINER_LAST_S", every) if step == 2 else every))
        print(
            json.dumps({"step": step, "of": 2, "loss": 1 / step, "eta_s": 2.0 - step}), flush=True
        )
    if args.steps == "666":
        print("finetune: the loss is nan", file=sys.stderr)
        return 2
    out = Path(args.out)
    # The real one takes its own result for done, too, when it was killed right after it.
    out.mkdir(exist_ok=True)
    told = {"base": args.base, "seed": args.seed, "omp": os.environ["OMP_NUM_THREADS"]}
    (out / "run.json").write_text(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
