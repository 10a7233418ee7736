"""A whole regiontext, started as a user starts it: `regiontext up` with a data folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from backend.up.credentials import Credentials, load
from tests.label_studio_server import free_port, give_database

__all__ = ["Stack", "regiontext", "running_stack"]


@dataclass(frozen=True)
class Stack:
    """The addresses, the account and the data folder of a running regiontext."""

    data_dir: Path
    url: str
    backend_url: str
    model_url: str
    credentials: Credentials
    log: Path
    process: subprocess.Popen[bytes]
    seconds_to_start: float

    @property
    def project(self) -> int:
        connection = self.credentials.connection
        assert connection is not None and connection.project is not None
        return connection.project

    @property
    def email(self) -> str:
        assert self.credentials.account is not None
        return self.credentials.account.username

    @property
    def password(self) -> str:
        assert self.credentials.account is not None
        return self.credentials.account.password

    def api(self) -> httpx.Client:
        """A client of Label Studio's API, signed in as the one user."""
        assert self.credentials.connection is not None
        key = self.credentials.connection.label_studio_api_key
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Token {key}"}, timeout=60
        )

    def run(self, *arguments: str, seconds: float = 300) -> str:
        """Run another `regiontext` command beside this one and return what it printed."""
        return regiontext([*arguments, "--data-dir", str(self.data_dir)], seconds=seconds)


def regiontext(arguments: Sequence[str], *, seconds: float = 300) -> str:
    """Run the `regiontext` command; its output, or AssertionError with the output if it failed."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("regiontext")), *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "160"},
    )
    assert done.returncode == 0, f"regiontext {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def running_stack(data_dir: Path, *options: str, database: Path | None = None) -> Iterator[Stack]:
    """`regiontext up`, ready to be used; stopped as by Ctrl-C, which has to end with exit code 0.

    database: what its Label Studio begins with, see `give_database`.
    """
    ports = {"label-studio-port": free_port(), "port": free_port(), "model-port": free_port()}
    command = [
        str(Path(sys.executable).with_name("regiontext")), "up", "--no-browser",
        "--data-dir", str(data_dir),
        *(f"--{name}={port}" for name, port in ports.items()), *options,
    ]  # fmt: skip
    give_database(data_dir / "label-studio", database)
    log = data_dir / "up.log"
    started = time.monotonic()
    # Emptied: a second start must not read the first one's success.
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"NO_COLOR": "1", "COLUMNS": "160"},
        )
    try:
        backend = f"http://127.0.0.1:{ports['port']}"
        credentials = _wait_until_connected(data_dir, backend, process, log, seconds=480)
        yield Stack(
            data_dir=data_dir,
            url=f"http://127.0.0.1:{ports['label-studio-port']}",
            backend_url=backend,
            model_url=f"http://127.0.0.1:{ports['model-port']}/v1",
            credentials=credentials,
            log=log,
            process=process,
            seconds_to_start=time.monotonic() - started,
        )
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = None
    assert code == 0, f"`regiontext up` ended with {code}:\n{_tail(log)}"


def _wait_until_connected(
    data_dir: Path, backend: str, process: subprocess.Popen[bytes], log: Path, seconds: float
) -> Credentials:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        credentials = load(data_dir)
        connection = credentials.connection if credentials else None
        # `up` prints the way in last, when everything stands.
        connected = connection and connection.project and connection.backend_url == backend
        if credentials and connected and "Ctrl-C" in log.read_text(errors="replace"):
            return credentials
        time.sleep(0.3)
    raise AssertionError(f"`regiontext up` did not come up:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]
