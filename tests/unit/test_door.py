"""The door to libvirt's socket lets in whom the socket would have let in."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.door import Door


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    """A socket that says what it hears."""
    path = tmp_path / "room"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def answer() -> None:
            while True:
                try:
                    guest, _ = listening.accept()
                except OSError:  # the end of the test
                    return
                with guest:
                    while heard := guest.recv(100):
                        guest.sendall(heard)

        thread = threading.Thread(target=answer)
        thread.start()
        yield path
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def echo(room: Path, guests: set[str], users: set[int]) -> bytes:
    door = Door(("127.0.0.1", 0), room, guests, users)
    try:
        with socket.create_connection(door.server_address[:2], timeout=10) as visitor:
            try:
                visitor.sendall(b"hello")
                visitor.shutdown(socket.SHUT_WR)
                return visitor.recv(100)
            except ConnectionError:  # it is closed before or after we say something
                return b""
    finally:
        door.shutdown()
        door.server_close()


def test_a_user_who_may(room: Path) -> None:
    assert b"hello" == echo(room, set(), {os.getuid()})


def test_another_user(room: Path) -> None:
    assert b"" == echo(room, set(), {os.getuid() + 1})


def test_another_host(room: Path) -> None:
    """By its address."""
    assert b"hello" == echo(room, {"127.0.0.1"}, set())
