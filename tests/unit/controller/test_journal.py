"""Entries of the journal, as the journal receives them."""

from __future__ import annotations

import array
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from reconvirt.controller import logs
from reconvirt.controller.journal import JournalHandler, entry_of


def fields_of(entry: bytes) -> list[tuple[str, str]]:
    """The fields of an entry, read as the protocol says."""
    found: list[tuple[str, str]] = []
    while entry:
        line, _, entry = entry.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
        else:
            length = int.from_bytes(entry[:8], "little")
            name, value, entry = line, entry[8 : 8 + length], entry[9 + length :]
        found.append((name.decode(), value.decode()))
    return found


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "socket"))
        receiver.settimeout(5)
        yield receiver


def test_the_keys_of_a_line_are_fields() -> None:
    """In capitals; lists are several fields, what has line breaks is written with its length."""
    event = {
        "event": "step done",
        "virtual_server": "wéb1",
        "changes": ["memory: 1 → 2", "two\nlines"],
        "seconds": 1.5,
        "message": "not the entry's",
        "_odd-key": {"a": 1},
        "nothing": None,
        "exc_info": True,
    }

    fields = fields_of(entry_of("for people", "warning", event))

    assert [
        ("MESSAGE", "for people"),
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "reconvirt"),
        ("EVENT", "step done"),
        ("VIRTUAL_SERVER", "wéb1"),
        ("CHANGES", "memory: 1 → 2"),
        ("CHANGES", "two\nlines"),
        ("SECONDS", "1.5"),
        ("ODD_KEY", '{"a": 1}'),
    ] == fields


def test_an_entry_that_is_too_large_for_a_datagram(journal: socket.socket, tmp_path: Path) -> None:
    """It comes as a sealed file."""
    handler = JournalHandler(tmp_path / "socket")
    handler.emit(logging.makeLogRecord({"msg": "x" * 1_000_000, "levelname": "INFO"}))

    data, [(_, _, rights)], _, _ = journal.recvmsg(10, 1000)
    handler.close()
    (number,) = array.array("i", rights)
    with os.fdopen(number, "rb") as file:
        file.seek(0)
        fields = fields_of(file.read())
    assert b"" == data
    assert ("MESSAGE", "x" * 1_000_000) == fields[0]


def test_the_log_of_a_service(
    journal: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of libraries as well, with the message in plain words."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    monkeypatch.setattr(logs, "SOCKET", tmp_path / "socket")
    monkeypatch.setattr(JournalHandler.__init__, "__defaults__", (tmp_path / "socket",))
    with (tmp_path / "stream").open("w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        try:
            logs.configure("auto", stream, "info")
            with structlog.contextvars.bound_contextvars(virtual_server="web1"):
                structlog.get_logger().error("step failed", step="define")
            logging.getLogger("library").warning("old %s", "style")
        finally:
            for handler in root.handlers:
                handler.close()
            root.handlers[:], root.level = before, level
            structlog.reset_defaults()

    first, second = (dict(fields_of(journal.recv(10_000))) for _ in range(2))
    assert ("3", "step failed", "web1", "define") == (
        first["PRIORITY"],
        first["EVENT"],
        first["VIRTUAL_SERVER"],
        first["STEP"],
    )
    assert "step failed" in first["MESSAGE"]
    assert "[error" not in first["MESSAGE"]
    assert ("4", "old style") == (second["PRIORITY"], second["MESSAGE"].strip())
