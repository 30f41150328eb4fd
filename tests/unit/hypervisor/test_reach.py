"""Whether memory can be sent somewhere, with real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from reconvirt.hypervisor.reach import port_problem

NOBODY = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("255.255.255.255", 49215))
"""No connection can be made to all at once: that fails as an address without a route does."""


@pytest.fixture
def refuses() -> Iterator[int]:
    """A port at which nobody listens, and which nobody else gets."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_host_that_refuses_is_reached(refuses: int) -> None:
    """Its firewall lets it through; QEMU listens there later."""
    assert "" == port_problem("tcp://127.0.0.1", refuses)
    assert "" == port_problem(f"tcp://127.0.0.1:{refuses}", 1)


@pytest.mark.parametrize("reached", [True, False])
def test_each_address_of_a_name_is_tried(
    refuses: int, monkeypatch: pytest.MonkeyPatch, reached: bool
) -> None:
    """As QEMU does: one way is enough."""
    local = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", refuses))
    found = [NOBODY, local] if reached else [NOBODY, NOBODY]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: found)

    problem = port_problem("tcp://two.example.com", refuses)

    if reached:
        assert "" == problem
    else:
        assert f"port {refuses} of two.example.com cannot be reached: " in problem


def test_a_port_that_there_cannot_be() -> None:
    """It is told, and not an error of ours."""
    uri = "tcp://127.0.0.1:70000"

    assert f"{uri} states no port that there can be" == port_problem(uri, 49215)
