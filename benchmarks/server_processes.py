"""The servers that `benchmarks.server` measures, each in a process of its own, and what is posted to them.

Knows no pictures of its own and measures nothing.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
from PIL import Image

from model_server.folder import BUNDLED, find_model
from tests.label_studio_server import free_port

__all__ = ["Ask", "Server", "data_url", "our_server", "peer_server", "post", "wait"]


@dataclass(frozen=True)
class Ask:
    """One question about one picture."""

    url: str
    prompt: str
    options: tuple[str, ...] = ()


@dataclass
class Server:
    """A server, by workload how fast it answered in its best round, and its least milliseconds of processor each."""

    port: int
    model: str
    closed: bool
    process: psutil.Process
    best: dict[str, float] = field(default_factory=dict)
    work: dict[str, float] = field(default_factory=dict)

    def body(self, ask: Ask, **more: Any) -> bytes:
        """The request; options only where they are understood."""
        parts = [
            {"type": "image_url", "image_url": {"url": ask.url}},
            {"type": "text", "text": ask.prompt},
        ]
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": parts}],
            "max_tokens": 24,
            "temperature": 0,
            **more,
        }
        if ask.options and self.closed:
            body["structured_outputs"] = {"choice": list(ask.options)}
        return json.dumps(body).encode()


@contextmanager
def our_server(dtype: str) -> Iterator[Server]:
    """The bundled model behind our server, for the block."""
    name = find_model(BUNDLED).name
    port = free_port()
    command = ["model_server", "--device", "cpu", "--threads", "1", "--dtype", dtype]
    with _running([sys.executable, "-m", *command, "--port", str(port)]) as process:
        yield Server(port, name, closed=True, process=process)


@contextmanager
def peer_server(dtype: str) -> Iterator[Server]:
    """The bundled model behind `transformers serve`, for the block."""
    port = free_port()
    command = ["transformers.cli.transformers", "serve", str(BUNDLED), "--dtype", dtype]
    with _running(
        [sys.executable, "-m", *command, "--device", "cpu", "--port", str(port)]
    ) as process:
        yield Server(port, str(BUNDLED), closed=False, process=process)


@contextmanager
def _running(command: list[str]) -> Iterator[psutil.Process]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def wait(server: Server, process_s: float = 600.0) -> None:
    """Until it answers a question."""
    image = Image.new("RGB", (64, 64), (90, 120, 40))
    body = server.body(Ask(data_url(image), "Describe the object."))
    deadline = time.monotonic() + process_s
    while time.monotonic() < deadline:
        try:
            if "choices" in post(http.client.HTTPConnection("localhost", server.port), body):
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the server on port {server.port} did not answer within {process_s:.0f} s")


def post(connection: http.client.HTTPConnection, body: bytes) -> dict[str, Any]:
    """Ask, and read the answer."""
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    return json.loads(connection.getresponse().read())  # type: ignore[no-any-return]


def data_url(image: Image.Image) -> str:
    """The picture as PNG in a data URL."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
