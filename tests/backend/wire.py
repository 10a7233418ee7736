"""Sends a body to `/predict` as Label Studio might, be it JSON as the standard has it or not."""

from __future__ import annotations

import json
from typing import Any

import httpx

__all__ = ["post"]


def post(http: httpx.Client, body: dict[str, Any]) -> dict[str, Any] | None:
    """The answer; None if it is an HTTP error or no JSON object."""
    answer = http.post(
        "/predict", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    if answer.status_code != 200:
        return None
    found: dict[str, Any] = answer.json()
    return found
