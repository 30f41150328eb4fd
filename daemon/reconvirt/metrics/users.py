"""Who may read the metrics: names and salted hashes of passwords, a line each."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path

_COST, _BLOCK, _PARALLEL = 2**14, 8, 1


class UsersError(Exception):
    """The file of users cannot be used; the text says why."""


def make_line(name: str, password: str) -> str:
    """A line of the file for one user."""
    salt = secrets.token_hex(16)
    return f"{name}:scrypt:{salt}:{_hash(password, salt)}"


class Users:
    """The users of one file, which is read anew when it changes.

    Args:
        path: the file.

    Raises:
        UsersError: it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: object = None
        self._lines: Mapping[str, tuple[str, str]] = {}
        # The hash is slow on purpose; whoever has been let in before is let in fast.
        self._let_in: set[bytes] = set()
        self._key = secrets.token_bytes(32)
        self._refresh()

    def admits(self, header: str) -> bool:
        """Whether an ``Authorization`` header names a user and its password."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            name, colon, password = base64.b64decode(token, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        if not colon:
            return False
        self._refresh()
        seen = hmac.digest(self._key, f"{name}:{password}".encode(), "sha256")
        if seen in self._let_in:
            return True
        # A user that does not exist takes as long as one that does.
        salt, expected = self._lines.get(name, ("0" * 32, ""))
        if not hmac.compare_digest(_hash(password, salt), expected):
            return False
        self._let_in.add(seen)
        return True

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsersError(f"{self._path}: cannot be read: {error}") from error
        lines: dict[str, tuple[str, str]] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, *rest = line.strip().split(":")
            if not name or len(rest) != 3 or rest[0] != "scrypt":  # noqa: PLR2004 - see make_line
                raise UsersError(f"{self._path}:{number}: not NAME:scrypt:SALT:HASH")
            lines[name] = (rest[1], rest[2])
        self._lines, self._stamp = lines, stamp
        self._let_in.clear()


def _hash(password: str, salt: str) -> str:
    made = hashlib.scrypt(password.encode(), salt=salt.encode(), n=_COST, r=_BLOCK, p=_PARALLEL)
    return made.hex()
