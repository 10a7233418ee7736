"""A stand-in for a model server that segments beside describing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from regiontext.coco import mask_to_coco
from tests.backend.stubs import StubModel

__all__ = ["H", "W", "StubSam"]

W, H = 800, 600


@dataclass
class StubSam(StubModel):
    """Besides captions, masks: a square around each positive point without a square around each negative one."""

    status: int = 200
    sam_delay: float = 0.0
    empty: bool = False
    size: tuple[int, int] = (W, H)
    clicked: list[dict[str, Any]] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = super().app()

        @app.post("/v1/segment")
        async def segment(request: Request) -> JSONResponse:
            body = await request.json()
            self.clicked.append(body)
            await asyncio.sleep(self.sam_delay)
            if self.status != 200:
                fault = {"message": "it went wrong", "type": "server_error", "code": None}
                return JSONResponse({"error": fault}, self.status)
            mask = np.zeros(self.size[::-1], dtype=bool)
            for want in (1, 0):
                for (x, y), label in zip(body["points"], body["labels"], strict=True):
                    if label == want and not self.empty:
                        side = 60 if want else 20
                        rows = slice(max(0, int(y) - side), int(y) + side)
                        mask[rows, max(0, int(x) - side) : int(x) + side] = bool(want)
            decoy = np.zeros(self.size[::-1], dtype=bool)
            decoy[0, 0] = not self.empty
            return JSONResponse(
                {
                    "masks": [
                        {**mask_to_coco(decoy), "score": 0.9},
                        {**mask_to_coco(mask), "score": 0.8},
                    ]
                }
            )

        return app
