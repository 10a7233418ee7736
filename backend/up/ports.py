"""Which TCP ports are free, and who holds those that are not. Knows nothing of what will listen
there.
"""

from __future__ import annotations

import errno
import socket

import psutil  # type: ignore[import-untyped]

from backend.up.errors import PortBusy, UpError

__all__ = ["check_free", "check_ports", "holder", "reachable_host"]

_ANY = {"0.0.0.0", "::", ""}


def reachable_host(host: str) -> str:
    """Return the address under which this machine reaches a server that listens on `host`."""
    return "127.0.0.1" if host in _ANY else host


def check_free(host: str, port: int, *, service: str, option: str) -> None:
    """Return when `service` can listen on `host`:`port`.

    Raises PortBusy, naming the port, who holds it when that can be seen, and the `option` that
    changes it; UpError when `host` is no address of this machine or `port` may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # The servers set it too: without it a port that was just given up looks busy for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                by = holder(port)
                raise PortBusy(
                    f"port {port} ({service}) is in use{f' by {by}' if by else ''}: "
                    f"stop that program or choose another port with {option} N"
                ) from None
            if error.errno == errno.EACCES:
                raise UpError(
                    f"port {port} ({service}) may not be used by this user: "
                    f"choose one above 1023 with {option} N"
                ) from None
            raise UpError(
                f"{host!r} cannot be listened on ({error.strerror or error}): "
                "--host takes an address of this machine, or 0.0.0.0 for all of them"
            ) from None


def check_ports(wanted: dict[str, tuple[str, int, str]]) -> None:
    """Check every service (`name -> (host, port, option)`) before any is started.

    Raises PortBusy or UpError for the first that cannot listen, or when two share a port.
    """
    seen: dict[int, tuple[str, str]] = {}
    for service, (host, port, option) in wanted.items():
        if port in seen:
            other, other_option = seen[port]
            raise UpError(
                f"port {port} is asked for twice, by {other} ({other_option}) "
                f"and {service} ({option}): give them different ports"
            )
        seen[port] = (service, option)
        check_free(host, port, service=service, option=option)


def holder(port: int) -> str:
    """Return "name (pid N)" of the process that listens on `port`, or "" when the system does not
    say.
    """
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return ""
