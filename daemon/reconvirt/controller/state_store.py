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
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

import structlog

_VERSION = 1
_LOCK = "state.lock"
_SETTLED_NANOSECONDS = 1_000_000_000
"""A file that was written just now may be written again with the same inode, size and time."""

_log = structlog.get_logger(__name__)

_Seen: TypeAlias = tuple[int, int, int]
"""Tells one content of a file from another without reading it: inode, size and time."""


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


class Unreadable(OSError):
    """A document cannot be read; the text says which, why, and what to do.

    It is an ``OSError``, since a change of such a document is one that cannot be stored.
    """


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
        self._depth = 0
        self._memory: dict[Document, dict[str, Any]] = {}
        self._cache: dict[Document, tuple[_Seen, dict[str, Any]]] = {}
        self._unreadable: dict[Document, str] = {}
        self._filled: set[Document] = set()

    @property
    def directory(self) -> Path | None:
        """Where the files are; None if nothing outlives this object."""
        return self._directory

    def read(self, document: Document) -> Mapping[str, Any]:
        """The entries of a document, which must not be changed; empty if it was never written.

        A change by any thread or process that has returned is seen.

        Raises:
            Unreadable: the file is there and cannot be read, or it had entries and is gone.
        """
        with self._lock:
            return self._current(document)

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the documents that cannot be read now, one sentence for each."""
        found = []
        for document in Document:
            try:
                self.read(document)
            except Unreadable as error:
                found.append(str(error))
        return tuple(found)

    @contextmanager
    def change(self, document: Document) -> Iterator[dict[str, Any]]:
        """The entries of a document to be changed inside the block, and written at its end.

        They are read again under the lock. Nothing is written if nothing was changed, or if the
        block raises. Changes of several documents may be nested.

        Raises:
            Unreadable: the file is there and cannot be read, and stays as it is; or it had entries
                and is gone.
            OSError: it cannot be written; what was there before still is.
        """
        with self._lock, self._locked():
            before = self._current(document)
            entries = copy.deepcopy(dict(before))
            yield entries
            if entries == before:
                return
            if self._directory is None:
                self._memory[document] = entries
            else:
                value = {"version": _VERSION, "entries": entries}
                _write(self._directory / document, value)
                self._note_filled(document, entries)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes out; our other threads are out already."""
        if self._directory is None or self._depth:
            yield
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / _LOCK
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _own_like(number, self._directory)
            fcntl.flock(number, fcntl.LOCK_EX)
            # A second descriptor would wait for the first one for ever: flock() tells them apart.
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
        finally:
            os.close(number)

    def _current(self, document: Document) -> dict[str, Any]:
        if self._directory is None:
            return self._memory.get(document, {})
        file = self._directory / document
        try:
            seen = _look(file)
            known = self._cache.get(document)
            if known is not None and known[0] == seen:
                return known[1]
            found = _parse(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            if document not in self._filled:
                self._unreadable.pop(document, None)
                return {}
            # Nobody has said what was in it: a directory that was cleaned, or not mounted again.
            what = f"{file} is gone, and had entries when it was last read"
            message = f"{what}; restore it, or write {{}} into it if none of them counts any more"
            self._report(document, message)
            raise Unreadable(message) from error
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            message = f"{file} cannot be read ({why}); repair it, or remove it if that is safe"
            self._report(document, message)
            self._filled.discard(document)  # A person has been asked to remove it.
            raise Unreadable(message) from error
        self._unreadable.pop(document, None)
        self._note_filled(document, found)
        if time.time_ns() - seen[-1] > _SETTLED_NANOSECONDS:
            self._cache[document] = (seen, found)
        return found

    def _note_filled(self, document: Document, entries: Mapping[str, Any]) -> None:
        """Remember whether a document has entries: then its file does not just go."""
        if entries:
            self._filled.add(document)
        else:
            self._filled.discard(document)

    def _report(self, document: Document, message: str) -> None:
        if self._unreadable.get(document) != message:
            self._unreadable[document] = message
            _log.error("state cannot be read", document=document, error=message)


def _look(file: Path) -> _Seen:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _parse(text: str) -> dict[str, Any]:
    """The entries of a file.

    Raises:
        ValueError: it is no such file, or of a version that is newer than this program.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - reported like other bad content
    if "version" not in value or isinstance(value["version"], dict):
        return value  # Files of reconvirt 0.1 have the entries alone, by name; this is a name, too.
    if value["version"] != _VERSION:
        raise ValueError(f"its version is {value['version']!r}, and this program knows {_VERSION}")
    entries = value.get("entries")
    if not isinstance(entries, dict):
        raise ValueError("it has no entries")  # noqa: TRY004 - reported like other bad content
    return entries


def _write(file: Path, value: dict[str, Any]) -> None:
    number, path = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=2)
            stream.flush()
            _own_like(stream.fileno(), file.parent)
            os.fsync(stream.fileno())
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
