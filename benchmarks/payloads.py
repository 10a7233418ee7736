"""Recorded and mutated Label Studio payloads against a whole backend: no HTTP error, no region lost.

    python -m benchmarks.payloads [--quick] [--seed N]

Each recorded `/predict` body is changed in up to six places (values replaced by junk, keys missing, lists cut or
multiplied, shapes of other recordings added), and sent to the backend with a stub model that answers, talks nonsense or
is away, in turn. Bars: 0 and 0, over 6,000 payloads (600 with --quick).
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from backend.app import create_app
from backend.settings import Settings
from benchmarks.report import Claim, report
from tests.backend.mutations import lost, mutants, nonsense, recorded
from tests.backend.stubs import StubHost, StubModel
from tests.backend.wire import post


def main() -> None:
    """Run it and print what was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    count = 200 if args.quick else 2000
    failed = gone = sent = 0
    for number, model in enumerate(
        (
            StubModel(),
            StubModel(say=nonsense(random.Random(args.seed))),
            StubModel(down=True),
        )
    ):
        with tempfile.TemporaryDirectory() as folder:
            for body, answer in _replay(model, Path(folder), count, args.seed * 3 + number):
                sent += 1
                failed += answer is None
                gone += len(lost(body, answer)) if answer is not None else 0
    report(
        f"{sent} mutated payloads",
        [
            Claim("payloads_lost_regions", gone, "regions", "missing from an answer", 0, True),
            Claim("payloads_5xx", failed, "answers", "HTTP errors on /predict", 0, True),
            Claim("payloads_sent", sent, "payloads", "sent in all"),
        ],
    )


def _replay(
    model: StubModel, folder: Path, count: int, seed: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    host = StubHost()
    settings = Settings(
        label_studio_url="http://label-studio:8080",
        label_studio_api_key=host.token,
        model_url="http://model:9200/v1",
        data_dir=folder,
        holdout=0,
        control=0,
        _env_file=None,
    )
    app = create_app(
        settings,
        model_transport=model.transport(),
        image_transport=host.transport(),
        processor=lambda *_: None,
    )
    with TestClient(app, raise_server_exceptions=False) as http:
        for body in mutants(list(recorded().values()), count, seed):
            yield body, post(http, body)


if __name__ == "__main__":
    main()
