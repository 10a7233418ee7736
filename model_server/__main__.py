"""`python -m model_server`: serve one model and its adapters.

The port opens first and the model loads behind it, so that health checks and waiting clients have
someone to talk to.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from model_server.app import create_app
from model_server.batches import Model
from model_server.engine import Engine
from model_server.errors import ModelFolderError
from model_server.families import open_model
from model_server.folder import BUNDLED, ModelFolder, find_model
from model_server.protocol.fetch import Fetcher
from model_server.replicas import Replicas
from model_server.resources import max_batch_of, threads_here
from model_server.segmenter_routes import Segmenting

__all__ = ["main"]

log = logging.getLogger("model_server")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        folder = find_model(args.model, name=args.name)
        adapters = dict(_named_path(text) for text in args.lora_modules)
    except ModelFolderError as error:
        print(f"model_server: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    failed: list[str] = []

    def give_up() -> None:
        failed.append(folder.source)
        server.should_exit = True

    engines = [
        Engine(
            partial(_open, folder, adapters, args, device),
            base=folder.name,
            adapters=adapters,
            max_batch=args.max_batch or partial(max_batch_of, device),
            max_waiting=args.max_waiting,
            on_failed=give_up,
        )
        for device in args.device.split(",")
    ]
    engine = engines[0] if len(engines) == 1 else Replicas(engines)
    app = create_app(
        engine,
        folder,
        api_key=os.environ.get("REGIONTEXT_MODEL_API_KEY") or None,
        admin_key=os.environ.get("REGIONTEXT_MODEL_ADMIN_KEY") or None,
        fetcher=Fetcher(args.image_hosts),
        segmenting=_segmenting(args),
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=args.host,
            port=args.port,
            log_level="info",
            access_log=args.access_log,
            timeout_graceful_shutdown=30,
        )
    )
    # The model's thread gives way at every operation, and should not wait long for its turn again.
    sys.setswitchinterval(0.0005)
    # uvicorn shuts down on Ctrl+C and then raises the signal again.
    with suppress(KeyboardInterrupt):
        server.run()
    return 1 if failed or not server.started else 0


def _open(
    folder: ModelFolder, adapters: dict[str, Path], args: argparse.Namespace, device: str
) -> Model:
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    threads = args.threads or threads_here()
    model = open_model(folder, device=device, dtype=args.dtype, threads=threads)
    for name, path in adapters.items():
        model.load_adapter(name, path)
    return model


def _segmenting(args: argparse.Namespace) -> Segmenting | None:
    source = args.segmenter
    if not source:
        return None

    def open_it() -> Any:
        from model_server.segmenter import open_segmenter

        return open_segmenter(source, device=args.device.split(",")[0])

    return Segmenting(open_it, name=Path(source).stem)


def _named_path(text: str) -> tuple[str, Path]:
    name, given, path = text.partition("=")
    if not (name and given and path):
        raise ModelFolderError(f"--lora-modules takes NAME=PATH, got {text!r}.")
    return name, Path(path)


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {number}")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model_server",
        description="Serve a region MLLM behind an OpenAI-compatible API. With "
        "REGIONTEXT_MODEL_API_KEY set, /v1 asks for that key; with REGIONTEXT_MODEL_ADMIN_KEY set, loading and "
        "unloading adapters asks for that one.",
    )
    parser.add_argument(
        "--model", default=str(BUNDLED), help="model folder or hub id (default: the bundled model)"
    )
    parser.add_argument("--name", help="id under which the model is served")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9200)
    parser.add_argument(
        "--threads",
        type=_number,
        help="CPU threads for the model (default: its cores, as far as affinity and CPU quota allow)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="DEVICE[,DEVICE...]",
        help="auto, cpu, cuda, cuda:N or mps; several, such as cuda:0,cuda:1, each get the whole model",
    )
    parser.add_argument(
        "--dtype",
        default="auto",
        help="auto, float32, mixed (float32, where it runs packed with products in bfloat16), bfloat16 or float16 "
        "(default: on a CPU mixed where it multiplies bfloat16 itself, else float32; on a GPU bfloat16)",
    )
    parser.add_argument(
        "--max-batch",
        type=_number,
        help="most requests answered together (default: 16, on CUDA up to 64 as its memory allows)",
    )
    parser.add_argument(
        "--max-waiting", type=int, default=256, help="most requests that wait; more are told 429"
    )
    parser.add_argument(
        "--image-hosts",
        nargs="*",
        default=[],
        metavar="HOST[:PORT]",
        help="hosts from which images are fetched; by default images come as data URLs only",
    )
    parser.add_argument(
        "--lora-modules",
        nargs="*",
        default=[],
        metavar="NAME=PATH",
        help="adapters to load at start",
    )
    parser.add_argument(
        "--segmenter",
        metavar="FOLDER|HUB_ID|FILE.pth",
        help="a SAM that turns clicks into masks (POST /v1/segment); none by default",
    )
    parser.add_argument("--access-log", action="store_true", help="log every request")
    return parser


if __name__ == "__main__":
    sys.exit(main())
