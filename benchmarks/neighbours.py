"""Stand-ins for the backend's neighbours, as a server of their own: images of Label Studio, and a model that answers.

    python -m benchmarks.neighbours --port N [--delay SECONDS]

Every path under /data/ is a 1280 x 960 JPEG; each path's bytes differ, so none is known from another. The model answers
"a red car" after the delay, whatever it is asked. For the benchmarks of the backend.
"""

from __future__ import annotations

import argparse
import io

import numpy as np
import uvicorn
from fastapi import FastAPI, Response
from PIL import Image

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

    @app.get("/data/{path:path}")
    async def image(path: str) -> Response:
        return Response(picture + path.encode(), media_type="image/jpeg")

    return app


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
