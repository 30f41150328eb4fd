"""The journal of migrations: what was begun, where it goes, and what was there before.

libvirt does not tell to which host a migration goes that runs, nor which of two definitions it has
left behind. Only what the journal says may be ended or undefined at either end.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import structlog

from reconvirt.controller.state_store import Document, StateStore, Unreadable
from reconvirt.domain.desired import Desired

_log = structlog.get_logger(__name__)


class Phase(StrEnum):
    """How far a migration has got."""

    BEGUN = "begun"
    """libvirt was about to be asked for it, or has been."""
    ARRIVED = "arrived"
    """It is at the destination."""
    ENDED = "ended"
    """A person has ended it, and it is to stay."""


NOTHING = "nothing"
"""What was at the destination before: it answered that it had none of this name or uuid."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of the last migration of a virtual server.

    Attributes:
        name: the virtual server.
        host: the destination.
        phase: how far it has got.
        source: the host that it leaves.
        uri: the destination's libvirt.
        before: what the destination had of it before; "" in files of reconvirt 0.1: not known.
        ended: why it is to stay, where a person has ended it.
        wanted: a digest of the manifest then: another one ends that.
    """

    name: str
    host: str = ""
    phase: str = Phase.BEGUN
    source: str = ""
    uri: str = ""
    before: str = ""
    ended: str = ""
    wanted: str = ""


class MigrationJournal:
    """The journal of one host, by uuid; a name is enough to find an entry.

    One that cannot be read says that nothing was begun: then nothing is cleaned up either, and
    nothing can be begun.

    Args:
        store: keeps it.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._read: dict[str, Entry] | None = None

    @property
    def unreadable(self) -> str:
        """Why it is not known which migrations were begun or are to end; "" if it is known.

        Until it is, none may be begun or carried on.
        """
        try:
            _parsed(self._store.read(Document.MIGRATIONS))
            self._store.read(Document.ABORT_REQUESTS)
        except Unreadable as error:
            return f"no migration is begun or carried on: {error}"
        return ""

    def find(self, name: str) -> Entry | None:
        """The entry of a virtual server; None where there is none."""
        found = [entry for entry in self._entries().values() if entry.name == name]
        return found[-1] if found else None

    def host(self, name: str) -> str:
        """The host to which a virtual server was sent last; "" where it is not known."""
        entry = self.find(name)
        return entry.host if entry is not None and entry.phase != Phase.ENDED else ""

    def underway(self, name: str) -> str:
        """The host to which it is on its way, for all that is known; "" for none."""
        entry = self.find(name)
        return entry.host if entry is not None and entry.phase == Phase.BEGUN else ""

    def left_behind(self, uuid: str, host: str) -> bool:
        """Whether what a host has of a virtual server can only be what its migration has left."""
        entry = self._entries().get(uuid)
        return entry is not None and (entry.phase, entry.host, entry.before) == (
            Phase.BEGUN,
            host,
            NOTHING,
        )

    def goes_to(self, uri: str) -> bool:
        """Whether a migration to this libvirt may be under way."""
        return any(
            entry.phase == Phase.BEGUN and entry.uri in ("", uri)
            for entry in self._entries().values()
        )

    def begin(self, uuid: str, entry: Entry) -> None:
        """Note a migration directly before libvirt is asked for it.

        Raises:
            OSError: it cannot be kept.
            Unreadable: the journal cannot be read.
        """
        self._change(lambda entries: _replace(entries, uuid, entry))

    def arrive(self, name: str) -> None:
        """It has arrived where it was sent."""
        self._note(name, lambda entry: {**entry, "phase": Phase.ARRIVED})

    def stay(self, name: str) -> None:
        """It has not been moved."""
        self._note(name, lambda _entry: None)

    def end_by_hand(self, uuid: str, why: str, desired: Desired) -> None:
        """It is to stay as long as its manifest states the same: a person has ended it."""
        entry = Entry(desired.name, phase=Phase.ENDED, ended=why, wanted=_digest(desired))
        try:
            self.begin(uuid, entry)
        except (OSError, Unreadable) as error:
            self._not_kept(desired.name, error)

    def release(self, name: str) -> None:
        """It need not stay any more, if it had to."""
        entry = self.find(name)
        if entry is not None and entry.phase == Phase.ENDED:
            self.stay(name)

    def ended(self, desired: Desired) -> str:
        """Why it is to stay until its manifest changes; "" if it is not."""
        entry = self.find(desired.name)
        if entry is None or entry.phase != Phase.ENDED or entry.wanted != _digest(desired):
            return ""
        return entry.ended

    def request_abort(self, name: str, *, end: bool) -> None:
        """A person wants its migration to end, or does not any more.

        The command says so in a document of its own: a daemon that has found the migration under
        way is not told by libvirt who has ended it.

        Raises:
            OSError: that cannot be kept.
            Unreadable: the document cannot be read.
        """
        with self._store.change(Document.ABORT_REQUESTS) as entries:
            entries.pop(name, None)
            if end:
                entries[name] = True

    def abort_requested(self, name: str) -> bool:
        """Whether a person wants its migration to end."""
        try:
            return name in self._store.read(Document.ABORT_REQUESTS)
        except Unreadable:
            return False

    def take_abort_request(self, name: str) -> bool:
        """Whether a person wanted its migration to end, which it has."""
        if not self.abort_requested(name):
            return False
        try:
            self.request_abort(name, end=False)
        except (OSError, Unreadable) as error:
            self._not_kept(name, error)
        return True

    def _note(
        self, name: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
    ) -> None:
        def apply(entries: dict[str, Any]) -> None:
            for uuid, entry in _parsed(entries).items():
                if entry.name == name:
                    new = change(asdict(entry))
                    _replace(entries, uuid, None if new is None else Entry(**new))

        if self.find(name) is None:
            return
        try:
            self._change(apply)
        except (OSError, Unreadable) as error:
            self._not_kept(name, error)

    def _entries(self) -> dict[str, Entry]:
        with self._lock:
            if self._read is None:
                try:
                    self._read = _parsed(self._store.read(Document.MIGRATIONS))
                except Unreadable:
                    return {}
            return self._read

    def _change(self, change: Callable[[dict[str, Any]], None]) -> None:
        with self._lock:
            with self._store.change(Document.MIGRATIONS) as entries:
                change(entries)
                found = _parsed(entries)
            self._read = found

    @staticmethod
    def _not_kept(name: str, error: Exception) -> None:
        _log.error("journal of migrations not written", virtual_server=name, error=str(error))


def _replace(entries: dict[str, Any], uuid: str, entry: Entry | None) -> None:
    """Have this be the only entry of a virtual server; none if there is nothing to say."""
    for key, other in _parsed(entries).items():
        if key == uuid or (entry is not None and other.name == entry.name):
            del entries[key]
    if entry is not None:
        entries[uuid] = asdict(entry)


def _parsed(entries: Mapping[str, Any]) -> dict[str, Entry]:
    """The entries of the document.

    Those of reconvirt 0.1 are by name, and do not say what was at the destination before.

    Raises:
        Unreadable: one has not the form that it must have.
    """
    found = {}
    for key, value in entries.items():
        try:
            if "name" in value:
                found[key] = Entry(**value)
                continue
            phase = Phase.ARRIVED if value.get("arrived") else Phase.BEGUN
            phase = Phase.ENDED if "ended" in value else phase
            rest = (value.get("ended", ""), value.get("wanted", ""))
            found[key] = Entry(key, value.get("host", ""), phase, "", "", "", *rest)
        except (TypeError, AttributeError) as error:
            message = f"{Document.MIGRATIONS}: the entry of {key} is no migration; repair the file"
            raise Unreadable(message) from error
    return found


def _digest(desired: Desired) -> str:
    """Equal as long as a manifest states the same, in each process."""
    policy = (desired.policy.migration, sorted(desired.policy.copied))
    stated = (desired.statement.to_json(), desired.state, desired.host, desired.hosts, policy)
    return hashlib.sha256(repr(stated).encode()).hexdigest()
