"""Starts a real, empty Label Studio for the tests, and stops it.

Knows nothing of regiontext: what the tests need is an address, an account and a token.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from filelock import FileLock

__all__ = [
    "LabelStudioServer",
    "empty_database",
    "free_port",
    "give_database",
    "running_label_studio",
    "stop",
    "wait_until_up",
]

DATABASE = "label_studio.sqlite3"
_OFFLINE = {
    "COLLECT_ANALYTICS": "False",
    "LATEST_VERSION_CHECK": "False",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
}


@dataclass(frozen=True)
class LabelStudioServer:
    """A running Label Studio 1.23.2: its address, its one user and that user's legacy token."""

    url: str
    token: str
    email: str
    password: str
    data_dir: Path

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.token}"}


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Return when `url` answers 200; raise with the end of `log` if the process dies or is late."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    tail = log.read_text(errors="replace")[-3000:] if log.exists() else ""
    raise RuntimeError(f"{url} did not come up in {seconds:.0f} s; its log ends with:\n{tail}")


def stop(process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """End a process and its process group, politely first."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)


def empty_database(folder: Path) -> Path:
    """A SQLite database with all of Label Studio's tables and nobody in it, made in `folder` by whoever asks first.

    Making the tables takes most of a first start.
    """
    made = folder / DATABASE
    with FileLock(folder / f"{DATABASE}.lock"):
        if not made.exists():
            data_dir = folder / "label-studio-tables"
            program = str(Path(sys.executable).with_name("label-studio"))
            done = subprocess.run(
                [program, "version", "--data-dir", str(data_dir)],
                env=os.environ | _OFFLINE,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=480,
            )
            if done.returncode:
                raise RuntimeError(f"label-studio version failed:\n{done.stdout}\n{done.stderr}")
            (data_dir / DATABASE).rename(made)
    return made


def give_database(data_dir: Path, database: Path | None) -> None:
    """Let the Label Studio of `data_dir` begin with a copy of `database`; None: with what it has, or makes."""
    data_dir.mkdir(parents=True, exist_ok=True)
    if database is not None and not (data_dir / DATABASE).exists():
        shutil.copyfile(database, data_dir / DATABASE)


@contextmanager
def running_label_studio(
    data_dir: Path,
    port: int | None = None,
    *,
    database: Path | None = None,
    sub_path: str = "",
    more: Mapping[str, str] | None = None,
) -> Iterator[LabelStudioServer]:
    """A Label Studio with its own data folder, legacy tokens on and loopback backends allowed.

    database: what it begins with, see `give_database`. sub_path: what it believes to stand before its paths, as behind
    a proxy that takes it away. more: variables of its environment.
    """
    port = port or free_port()
    give_database(data_dir, database)
    token = secrets.token_hex(20)
    email, password = "annotator@example.com", "a-Real-passw0rd"
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {
        "USE_DEFAULT_BANNED_SUBNETS": "false",
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        **_OFFLINE,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        **(more or {}),
    }
    command = [
        str(Path(sys.executable).with_name("label-studio")), "start", "--no-browser",
        "--port", str(port), "--internal-host", "127.0.0.1", "--host", url + sub_path,
        "--data-dir", str(data_dir), "--username", email, "--password", password,
        "--user-token", token, "--enable-legacy-api-token", "--init",
    ]  # fmt: skip
    log = data_dir / "label-studio.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=data_dir,
            start_new_session=True,
        )
        try:
            wait_until_up(f"{url}/health", process, log, seconds=480)
            yield LabelStudioServer(url, token, email, password, data_dir)
        finally:
            stop(process)
