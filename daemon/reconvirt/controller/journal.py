"""Lines of the log as entries of systemd's journal, each with fields of its own.

The protocol is that of https://systemd.io/JOURNAL_NATIVE_PROTOCOL/: a datagram of fields, or, where
that is too large for one, a sealed memory file whose descriptor is sent.
"""

from __future__ import annotations

import array
import fcntl
import json
import logging
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOCKET = Path("/run/systemd/journal/socket")
_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
_NOT_A_NAME = re.compile(r"[^A-Z0-9_]")
_LONGEST_NAME = 64
_FORMATTED = {"exc_info", "exception", "stack_info"}


class JournalHandler(logging.Handler):
    """Sends what is logged to the journal; what it says to people is the formatter's.

    A line's keys become fields in capitals: ``virtual_server`` is ``VIRTUAL_SERVER``, so
    ``journalctl VIRTUAL_SERVER=web1`` finds all about one virtual server.

    Args:
        address: the journal's socket.
    """

    def __init__(self, address: Path = SOCKET) -> None:
        super().__init__()
        self._address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line."""
        try:
            event = record.msg if isinstance(record.msg, Mapping) else {}
            self._send(entry_of(self.format(record), record.levelname.lower(), event))
        except Exception:  # noqa: BLE001 - logging must not end what is logged about
            self.handleError(record)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
        super().close()

    def _send(self, entry: bytes) -> None:
        try:
            self._socket.sendto(entry, self._address)
        except OSError:
            # Too large for a datagram.
            number = os.memfd_create("journal-entry", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
            with os.fdopen(number, "wb", buffering=0) as file:
                file.write(entry)
                seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
                fcntl.fcntl(number, fcntl.F_ADD_SEALS, seals | fcntl.F_SEAL_SEAL)
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [number]))
                self._socket.sendmsg([b""], [rights], 0, self._address)


def entry_of(message: str, level: str, event: Mapping[str, Any]) -> bytes:
    """An entry: what people read, and the line's keys as fields."""
    fields: list[tuple[str, Any]] = [
        ("MESSAGE", message),
        ("PRIORITY", _PRIORITIES.get(level, 6)),
        ("SYSLOG_IDENTIFIER", "reconvirt"),
    ]
    taken = {name for name, _ in fields}
    for key, value in event.items():
        if key in _FORMATTED:
            continue  # the message has it, for people
        # Fields that begin with an underscore are the journal's own.
        name = _NOT_A_NAME.sub("_", str(key).upper()).lstrip("_0123456789")[:_LONGEST_NAME]
        if name and name not in taken and value is not None:
            # A list becomes a field that is there several times, each of which can be sought.
            values = value if isinstance(value, list | tuple) else [value]
            fields.extend((name, each) for each in values)
    return b"".join(_field(name, value) for name, value in fields)


def _field(name: str, value: Any) -> bytes:
    plain = isinstance(value, str | int | float)
    text = str(value) if plain else json.dumps(value, ensure_ascii=False, default=str)
    data = text.encode("utf-8", "surrogateescape")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
