"""What must still be known after a restart, in one store: the only module that writes it.

Each document is one JSON file in the state directory. A file is replaced as a whole and is on disk
before the call returns (``fsync`` of the file and of its directory), so a machine that loses its
power has either the old or the new one. A change reads the file again under a lock that all
processes take, so no change is lost, whoever makes it: the daemon, a command, two threads.

A document that cannot be read never counts as an empty one: :class:`Unreadable` is raised, and
whoever needs the document takes the careful answer.
"""

from __future__ import annotations

import copy
import fcntl
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

_VERSION = 1
_LOCK = "state.lock"
_log = structlog.get_logger(__name__)


class Document(StrEnum):
    """The documents, by the names of their files."""

    HOLDS = "holds.json"
    """Which virtual servers are on hold, by uuid."""
    HOSTS = "hosts.json"
    """Every host that was ever known and has not been shown to have none of our servers."""
    FENCES = "fenced.json"
    """Which hosts a person has made sure of to be off."""
    MIGRATIONS = "journeys.json"
    """Migrations that were begun, and how they ended."""
    ABORT_REQUESTS = "to-end.json"
    """Migrations that a person wants to end."""
    COPIED_IMAGES = "copies.json"
    """Images that were made at other hosts for storage that is copied there."""
    IMAGES = "images.json"
    """Images that are known to have existed: one that is missing now is never made again."""
    PRUNES = "prunes.json"
    """Virtual servers that were pruned lately, and those that are to be."""
    SOURCE = "source.json"
    """The last good commit of each git source."""


class Unreadable(Exception):
    """A document cannot be read; the text says which, why, and what to do."""


class StateStore:
    """The documents of one state directory. Any thread of any process may use it.

    Args:
        directory: where the files are, made when the first document is written; None keeps the
            documents only as long as this object lives.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        # flock() excludes processes; threads share our descriptor's lock, and need their own.
        self._lock = threading.RLock()
        self._memory: dict[Document, dict[str, Any]] = {}
        self._told: dict[Document, str] = {}

    @property
    def directory(self) -> Path | None:
        """Where the files are; None if nothing is kept."""
        return self._directory

    def read(self, document: Document) -> Mapping[str, Any]:
        """The entries of a document; empty if it was never written.

        Raises:
            Unreadable: the file is there and cannot be read.
        """
        if self._directory is None:
            with self._lock:
                return copy.deepcopy(self._memory.get(document, {}))
        return self._read(self._directory / document, document)

    @contextmanager
    def change(self, document: Document) -> Iterator[dict[str, Any]]:
        """The entries of a document to be changed inside the block, and written at its end.

        They are read anew under the lock. Nothing is written if nothing was changed, or if the
        block raises.

        Raises:
            Unreadable: the file is there and cannot be read; it stays as it is.
            OSError: it cannot be written; what was there before still is.
        """
        with self._lock:
            if self._directory is None:
                entries = copy.deepcopy(self._memory.get(document, {}))
                yield entries
                self._memory[document] = entries
                return
            with self._locked(self._directory):
                file = self._directory / document
                before = self._read(file, document)
                entries = copy.deepcopy(dict(before))
                yield entries
                if entries != before:
                    _write(file, {"version": _VERSION, "entries": entries})

    @contextmanager
    def _locked(self, directory: Path) -> Iterator[None]:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / _LOCK
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _own_like(number, directory)
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)

    def _read(self, file: Path, document: Document) -> dict[str, Any]:
        try:
            found = _parse(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            message = f"{file} cannot be read ({why}); repair it, or remove it if that is safe"
            if self._told.get(document) != message:
                self._told[document] = message
                _log.error("state cannot be read", file=str(file), error=str(why))
            raise Unreadable(message) from error
        self._told.pop(document, None)
        return found


def _parse(text: str) -> dict[str, Any]:
    """The entries of a file.

    Raises:
        ValueError: it is no such file, or of a version that is newer than this program.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - told like any other bad content
    if "version" not in value:
        return value  # Files of reconvirt 0.1 hold the entries alone.
    if value["version"] != _VERSION:
        raise ValueError(f"its version is {value['version']!r}, and this program knows {_VERSION}")
    entries = value.get("entries")
    if not isinstance(entries, dict):
        raise ValueError("it has no entries")  # noqa: TRY004 - told like any other bad content
    return entries


def _write(file: Path, value: dict[str, Any]) -> None:
    number, path = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
            _own_like(stream.fileno(), file.parent)
        Path(path).replace(file)
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _own_like(number: int, directory: Path) -> None:
    """What root's commands write belongs to whom the directory belongs to: the daemon's user."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.fchown(number, owner.st_uid, owner.st_gid)
