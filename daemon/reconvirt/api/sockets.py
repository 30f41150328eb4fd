"""The sockets that the interface and the page listen at."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import socket
from pathlib import Path

_LONGEST = 107  # unix(7): what sun_path holds


class Taken(OSError):
    """Somebody else listens there; the text says where."""


class UnixListener:
    """A unix socket in the file system, of one process at a time.

    A lock beside it, which the kernel releases however its holder ends, tells whether the socket
    of an earlier process may be replaced.

    Args:
        path: where it is made, with the folder if that is missing.
        group: the group that may connect; None for the daemon's own.

    Raises:
        Taken: another process listens there, or something else stands there.
        OSError: it cannot be made.
    """

    def __init__(self, path: Path, group: int | None) -> None:
        self._path = path
        if len(os.fsencode(path)) > _LONGEST - len(".new"):
            raise OSError(f"{path}: a socket's path has at most {_LONGEST - len('.new')} bytes")
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._lock = os.open(_beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take()
            self.socket = _listen(path, group)
        except BaseException:
            os.close(self._lock)
            raise
        self._made = path.stat().st_ino

    def close(self) -> None:
        """Take the socket away, unless it is no longer this one."""
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._made:
                self._path.unlink()
        self.socket.close()
        os.close(self._lock)

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Taken(f"{self._path}: another reconvirt listens there") from None
        if not self._path.exists():
            return
        if not self._path.is_socket():
            raise Taken(f"{self._path}: it is there, and is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(os.fspath(self._path))
            except ConnectionRefusedError:
                return  # left behind by a process that was killed
        raise Taken(f"{self._path}: another process listens there")


def _listen(path: Path, group: int | None) -> socket.socket:
    """Make the socket aside and move it there, so that nobody ever meets it half made."""
    aside = _beside(path, ".new")
    aside.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)  # until its group is known it is nobody's
        try:
            made.bind(os.fspath(aside))
        finally:
            os.umask(before)
        if group is not None:
            os.chown(aside, -1, group)
        aside.chmod(0o660)
        made.listen(128)
        aside.replace(path)
    except BaseException:
        made.close()
        aside.unlink(missing_ok=True)
        raise
    return made


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def listen_on_loopback(address: str, port: int) -> socket.socket:
    """A TCP socket that only this host can reach.

    Args:
        address: an address of the loopback interface.
        port: the port; 0 for any that is free.

    Raises:
        ValueError: it is no such address.
        OSError: nobody can listen there, or somebody does.
    """
    if not ipaddress.ip_address(address).is_loopback:
        raise ValueError(f"{address}: the page is for this host only, such as 127.0.0.1 or ::1")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(128)
    except BaseException:
        made.close()
        raise
    return made
