"""Children are watched, stopped in order with all they started, and never outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from backend.up.errors import AlreadyRunning, ServiceFailed
from backend.up.lock import only_one
from backend.up.signals import Signals, StopRequested
from backend.up.supervisor import Service, Supervisor, describe_exit, tail
from tests.label_studio_server import free_port

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
SLEEPER = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}])
print(child.pid, flush=True)
time.sleep(60)
"""


def _service(
    tmp_path: Path, name: str, code: str, *arguments: str, ready_url: str = "", limit_s: float = 20,
    grace_s: float = 5,
) -> Service:  # fmt: skip
    return Service(
        name=name,
        command=(sys.executable, "-I", "-c", code, *arguments),
        environment=dict(os.environ),
        log=tmp_path / f"{name}.log",
        ready_url=ready_url,
        limit_s=limit_s,
        grace_s=grace_s,
    )


def _server(tmp_path: Path, name: str = "server") -> Service:
    port = free_port()
    return _service(tmp_path, name, SERVER, str(port), ready_url=f"http://127.0.0.1:{port}/")


def _until(condition: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def _running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _first_line(log: Path) -> int:
    assert _until(lambda: log.exists() and log.read_text().endswith("\n"))
    return int(log.read_text().split()[0])


def test_services_become_ready_and_stop_in_reverse_order(tmp_path: Path) -> None:
    stopped: list[str] = []
    with Supervisor(on_stop=stopped.append) as supervisor:
        children = [supervisor.start(_server(tmp_path, name)) for name in ("one", "two", "three")]
        for child in children:
            list(supervisor.until_ready(child))
        supervisor.check()
        assert all(child.alive() for child in children)
    assert stopped == ["three", "two", "one"]
    assert not any(child.alive() for child in children)
    assert (tmp_path / "one.log").read_text().startswith("listening\n")


def test_a_child_that_dies_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    code = "print('\\n'.join(f'line {i}' for i in range(99))); print('no such table'); exit(3)"
    with Supervisor() as supervisor:
        child = supervisor.start(
            _service(tmp_path, "backend", code, ready_url="http://127.0.0.1:1/")
        )
        with pytest.raises(ServiceFailed, match="backend exited with code 3") as caught:
            list(supervisor.until_ready(child))
    assert caught.value.tail[-1] == "no such table"
    assert len(caught.value.tail) <= 20
    assert caught.value.log == tmp_path / "backend.log"


def test_waiting_for_one_notices_the_death_of_another(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        supervisor.start(_service(tmp_path, "model", "exit(1)", ready_url="http://127.0.0.1:1/"))
        slow = supervisor.start(
            _service(tmp_path, "studio", SLEEPER, ready_url="http://127.0.0.1:1/")
        )
        with pytest.raises(ServiceFailed, match="model exited"):
            list(supervisor.until_ready(slow))
    assert not slow.alive()


def test_a_child_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    service = _service(tmp_path, "slow", SLEEPER, ready_url="http://127.0.0.1:1/", limit_s=0.5)
    with Supervisor() as supervisor:
        child = supervisor.start(service)
        with pytest.raises(ServiceFailed, match="slow was not ready after"):
            list(supervisor.until_ready(child))


def test_a_job_may_end_and_may_not_fail(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        done = supervisor.start(_service(tmp_path, "paint", "print('ok')"))
        list(supervisor.until_done(done))
        assert supervisor.children == ()
        failing = supervisor.start(_service(tmp_path, "paint", "exit(2)"))
        with pytest.raises(ServiceFailed, match="paint exited with code 2"):
            list(supervisor.until_done(failing))
    assert (tmp_path / "paint.log.1").read_text() == "ok\n"


def test_stopping_ends_what_the_children_started(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        child = supervisor.start(_service(tmp_path, "parent", PARENT))
        grandchild = _first_line(child.service.log)
        assert _running(grandchild)
    assert _until(lambda: not _running(grandchild))


def test_a_stubborn_child_is_killed_at_the_end_of_its_grace(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        child = supervisor.start(_service(tmp_path, "stubborn", STUBBORN, grace_s=0.5))
        time.sleep(0.3)
        began = time.monotonic()
    assert not child.alive()
    assert time.monotonic() - began < 4


def test_hurrying_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        supervisor.start(_service(tmp_path, "stubborn", STUBBORN, grace_s=60))
        time.sleep(0.3)
        supervisor.hurry()
        began = time.monotonic()
    assert time.monotonic() - began < 5


def test_children_and_grandchildren_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import os, sys, time
        from pathlib import Path
        from backend.up.lock import only_one
        from backend.up.supervisor import Service, Supervisor
        folder = Path(sys.argv[1])
        with only_one(folder) as lock, Supervisor(keep_open=(lock,)) as supervisor:
            for name, code in (("parent", {PARENT!r}), ("stubborn", {STUBBORN!r})):
                child = supervisor.start(Service(
                    name=name, command=(sys.executable, "-I", "-c", code),
                    environment=dict(os.environ), log=folder / (name + ".log"), limit_s=9))
                print(child.process.pid, flush=True)
            time.sleep(60)
        """
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pids = [int(owner.stdout.readline()), int(owner.stdout.readline())]
    pids.append(_first_line(tmp_path / "parent.log"))
    time.sleep(0.3)
    assert all(_running(pid) for pid in pids)

    owner.send_signal(signal.SIGKILL)
    owner.wait()
    # The next start waits until everything is gone instead of finding the ports taken.
    with only_one(tmp_path, patience_s=30):
        assert not any(_running(pid) for pid in pids)


def test_a_data_folder_has_one_owner(tmp_path: Path) -> None:
    said = rf"pid {os.getpid()}.*--data-dir"
    with only_one(tmp_path):
        second = only_one(tmp_path, patience_s=0)
        with pytest.raises(AlreadyRunning, match=said):
            second.__enter__()
    with only_one(tmp_path, patience_s=0):
        pass


def test_a_signal_is_one_exception_and_not_a_second_one() -> None:
    with Signals() as signals:
        repeated: list[int] = []
        signals.on_repeat = lambda: repeated.append(1)
        with pytest.raises(StopRequested), signals.raising():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        assert repeated == [1]


def test_a_signal_waits_for_what_must_not_be_interrupted() -> None:
    reached = False
    with (
        Signals() as signals,
        pytest.raises(StopRequested),
        signals.raising(),
        signals.uninterrupted(),
    ):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        reached = True
    assert reached


def test_exits_are_described() -> None:
    assert describe_exit(3) == "exited with code 3"
    assert describe_exit(-9) == "was killed by SIGKILL"


def test_the_tail_leaves_out_empty_lines_and_survives_broken_text(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"one\n\n\xff two \n\n")
    assert tail(log, lines=2) == ("one", "� two")
    assert tail(tmp_path / "none.log") == ()
