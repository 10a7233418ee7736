"""Stand-ins for the backend's neighbours, as a server of their own: images of Label Studio, and a model that answers.

    python -m benchmarks.neighbours --port N [--delay SECONDS]

Every path under /data/ is a 1280 x 960 JPEG; each path's bytes differ, so none is known from another. The model answers
"a red car" after the delay, whatever it is asked. GET /spent tells for each request of the backend's, by its id, how
long the model was at its questions. For the benchmarks of the backend.
"""

from __future__ import annotations

import argparse
import io
import time

import numpy as np
import uvicorn
from fastapi import FastAPI, Response
from PIL import Image
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.logs import REQUEST_ID_HEADER
from model_server.folder import BUNDLED, find_model
from tests.backend.stubs import StubModel

__all__ = ["neighbours"]

SIZE = (1280, 960)


def neighbours(delay: float) -> FastAPI:
    """The stub model's routes and the images, in one app; the model announces the bundled model's view."""
    model = StubModel(delay=delay)
    model.served[0]["view"] = find_model(str(BUNDLED)).view
    app = model.app()
    picture = _picture()
    at_work: dict[str, list[tuple[float, float]]] = {}
    app.add_middleware(_Clock, at_work=at_work)

    @app.get("/spent")
    async def spent() -> dict[str, float]:
        return {name: _covered(spans) for name, spans in at_work.items()}

    @app.get("/data/{path:path}")
    async def image(path: str) -> Response:
        return Response(picture + path.encode(), media_type="image/jpeg")

    return app


class _Clock:
    """Notes from when to when each question was worked at, by the id of the request that it belongs to.

    From its last byte's arrival to its answer's last byte.
    """

    def __init__(self, app: ASGIApp, *, at_work: dict[str, list[tuple[float, float]]]) -> None:
        self._app, self._at_work = app, at_work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()

        async def received() -> Message:
            nonlocal began
            message = await receive()
            if message["type"] == "http.request":
                began = time.perf_counter()
            return message

        await self._app(scope, received, send)
        if scope["type"] == "http" and scope["path"].endswith("/chat/completions"):
            name, _, _ = Headers(scope=scope).get(REQUEST_ID_HEADER, "").rpartition("-")
            self._at_work.setdefault(name, []).append((began, time.perf_counter()))


def _covered(spans: list[tuple[float, float]]) -> float:
    """Seconds in at least one of the spans."""
    total, until = 0.0, 0.0
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


def _picture() -> bytes:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize(SIZE, Image.Resampling.BICUBIC).save(file, format="JPEG", quality=90)
    return file.getvalue()


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.0)
    args = parser.parse_args()
    uvicorn.run(neighbours(args.delay), host="127.0.0.1", port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
