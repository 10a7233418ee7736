"""A busy port is one clear line before anything has started."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from backend.up.errors import PortBusy, UpError
from backend.up.ports import check_free, check_ports, holder, reachable_host


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_busy_port_is_named_with_its_holder_and_the_option(busy: int, host: str) -> None:
    with pytest.raises(PortBusy) as caught:
        check_free(host, busy, service="Label Studio", option="--label-studio-port")
    message = str(caught.value)
    assert f"port {busy}" in message and "Label Studio" in message
    assert "--label-studio-port N" in message
    assert f"pid {os.getpid()}" in message
    assert "\n" not in message


def test_a_port_that_was_just_given_up_is_free() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        client.connect(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()
    check_free("127.0.0.1", port, service="backend", option="--port")


def test_an_address_of_another_machine_is_said() -> None:
    with pytest.raises(UpError, match="--host"):
        check_free("192.0.2.1", 18080, service="backend", option="--port")


def test_two_services_on_one_port_are_told_apart_before_they_fight() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(UpError, match=f"port {port} is asked for twice.*--port.*--model-port"):
        check_ports(
            {
                "backend": ("127.0.0.1", port, "--port"),
                "model server": ("127.0.0.1", port, "--model-port"),
            }
        )


def test_nobody_holds_a_free_port() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert holder(port) == ""


@pytest.mark.parametrize(
    ("host", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("192.168.1.5", "192.168.1.5")],
)
def test_a_server_on_all_addresses_is_reached_on_the_loopback(host: str, reached: str) -> None:
    assert reachable_host(host) == reached
