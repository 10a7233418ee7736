"""Child processes: start, wait until ready, watch, stop in order. Knows nothing of what they do.

Each child leads a process group of its own, so that Ctrl-C in the terminal reaches only this
process, which then stops the children in the reverse order of their start. Should this process be
killed, a watchdog (watchdog.py) stops them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from backend.up import watchdog
from backend.up.errors import ServiceFailed

__all__ = ["Child", "Service", "Supervisor", "describe_exit", "tail"]

_POLL_S = 0.15


@dataclass(frozen=True)
class Service:
    """How one child is started, and how one sees that it is ready.

    `environment` is the child's whole environment. `ready_url` answers 200 once the service works;
    a job that ends by itself has none. `limit_s` seconds are the longest that may take. `grace_s`
    is how long it gets to end after SIGTERM.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    limit_s: float
    ready_url: str = ""
    grace_s: float = 8.0


@dataclass(frozen=True, eq=False)
class Child:
    """A started service."""

    service: Service
    process: subprocess.Popen[bytes]
    started_at: float

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None


class Supervisor:
    """Owns the children. A context manager: leaving it stops whatever runs."""

    def __init__(
        self,
        *,
        on_stop: Callable[[str], None] | None = None,
        uninterrupted: Callable[[], AbstractContextManager[object]] = nullcontext,
        keep_open: Sequence[int] = (),
    ) -> None:
        """Prepare; nothing runs before the `with` block.

        `on_stop` hears the name of each service before it is stopped. `uninterrupted` guards the
        moments in which a signal handler must not raise, or a child would be lost. `keep_open` are
        file descriptors that the watchdog holds too: a lock that lasts until the children are gone.
        """
        self._children: list[Child] = []
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._on_stop = on_stop or (lambda name: None)
        self._uninterrupted = uninterrupted
        self._keep_open = tuple(keep_open)
        self._hurry = False

    def __enter__(self) -> Self:
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(watchdog.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self._keep_open,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def children(self) -> tuple[Child, ...]:
        """The started children, in the order of their start."""
        return tuple(self._children)

    def start(self, service: Service) -> Child:
        """Start a service; its output goes to its log, the former log is kept as *.1."""
        service.log.parent.mkdir(parents=True, exist_ok=True)
        if service.log.exists():
            os.replace(service.log, service.log.with_name(service.log.name + ".1"))
        with service.log.open("wb") as output, self._uninterrupted():
            process = subprocess.Popen(
                service.command,
                env=dict(service.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            child = Child(service, process, time.monotonic())
            self._children.append(child)
            self._tell_watchdog(f"+{process.pid}\n")
        return child

    def check(self) -> None:
        """Raise ServiceFailed when a service has ended by itself, or a job with an error."""
        for child in self._children:
            code = child.process.poll()
            if code is not None and (code or child.service.ready_url):
                raise _failed(child, f"{child.service.name} {describe_exit(code)}")

    def until_done(self, child: Child) -> Iterator[None]:
        """Yield again and again until `child`, a job without a `ready_url`, has ended well.

        Raises ServiceFailed when any child fails meanwhile, or when `child` takes too long.
        """
        while True:
            self.check()
            if not child.alive():
                break
            _check_time(child, "done")
            yield
            time.sleep(_POLL_S)
        with self._uninterrupted():
            self._children.remove(child)
            self._tell_watchdog(f"-{child.process.pid}\n")

    def until_ready(self, child: Child) -> Iterator[None]:
        """Yield again and again until `child` answers; the caller shows progress in between.

        Raises ServiceFailed when any child ends meanwhile, or when `child` is not ready in time.
        """
        with httpx.Client(timeout=2.0, trust_env=False) as client:
            while True:
                self.check()
                if _answers(client, child.service.ready_url):
                    # Somebody else may have answered on the port just as the child died.
                    self.check()
                    return
                _check_time(child, "ready")
                yield
                time.sleep(_POLL_S)

    def is_ready(self, child: Child) -> bool:
        """Whether `child` answers now."""
        with httpx.Client(timeout=0.5, trust_env=False) as client:
            return child.alive() and _answers(client, child.service.ready_url)

    def hurry(self) -> None:
        """Let a running `stop` kill at once instead of waiting."""
        self._hurry = True

    def stop(self) -> None:
        """End all children, last started first, each with its process group."""
        while self._children:
            child = self._children[-1]
            if child.service.ready_url and child.alive():
                self._on_stop(child.service.name)
            self._stop_one(child)
            self._children.pop()
            self._tell_watchdog(f"-{child.process.pid}\n")
        if self._watchdog is not None:
            with contextlib.suppress(OSError):
                assert self._watchdog.stdin is not None
                self._watchdog.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._watchdog.wait(10)
            self._watchdog = None

    def _stop_one(self, child: Child) -> None:
        group = child.process.pid
        _signal(group, signal.SIGTERM)
        deadline = time.monotonic() + child.service.grace_s
        while child.alive() and time.monotonic() < deadline and not self._hurry:
            time.sleep(0.05)
        # The group, not only the process: a job it started must not outlive it.
        _signal(group, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(5)

    def _tell_watchdog(self, line: str) -> None:
        if self._watchdog is None or self._watchdog.stdin is None:
            return
        with contextlib.suppress(OSError):
            self._watchdog.stdin.write(line.encode())
            self._watchdog.stdin.flush()


def tail(log: Path, lines: int = 12) -> tuple[str, ...]:
    """Return the last `lines` lines of a log that say something."""
    try:
        with log.open("r", encoding="utf-8", errors="replace") as file:
            return tuple(deque((line.rstrip() for line in file if line.strip()), maxlen=lines))
    except OSError:
        return ()


def describe_exit(code: int) -> str:
    """Say how a process ended: "exited with code 3", "was killed by SIGKILL"."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _check_time(child: Child, wanted: str) -> None:
    limit = child.service.limit_s
    if time.monotonic() - child.started_at > limit:
        raise _failed(child, f"{child.service.name} was not {wanted} after {limit:.0f} s")


def _failed(child: Child, message: str) -> ServiceFailed:
    log = child.service.log
    return ServiceFailed(message, log=log, tail=tail(log))


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
