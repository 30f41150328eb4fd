"""Where virtual servers were sent, and which of them a person has had stay.

libvirt does not tell to which host a migration goes that runs: a daemon that is started anew must
know it, where several hosts may be the one.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any

import structlog

from reconvirt.controller.state_store import Document, StateStore, Unreadable
from reconvirt.domain.desired import Desired

_log = structlog.get_logger(__name__)


class Journeys:
    """Stored, by the names of virtual servers.

    Args:
        store: where it is stored.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._unsaved: dict[str, dict[str, Any]] = {}

    @property
    def unreadable(self) -> str:
        """Why it is not known which migrations were begun or are to end; "" if it is known.

        Until it is, none may be begun, carried on or cleaned up after.
        """
        try:
            self._store.read(Document.MIGRATIONS)
            self._store.read(Document.ABORT_REQUESTS)
        except Unreadable as error:
            return f"no migration is begun or carried on: {error}"
        return ""

    def host(self, name: str) -> str:
        """The host to which a virtual server was sent last; "" where it is not known."""
        return str(self._of(name).get("host", ""))

    def underway(self, name: str) -> str:
        """The host to which it is on its way, for all that is known; "" for none."""
        kept = self._of(name)
        return "" if kept.get("arrived") else str(kept.get("host", ""))

    def send(self, name: str, host: str) -> None:
        """It is sent to a host; raises OSError if that cannot be stored."""
        self._note(name, {"host": host})

    def arrive(self, name: str, host: str) -> None:
        """It has arrived there."""
        self._keep(name, {"host": host, "arrived": True})

    def stay(self, name: str, why: str = "", desired: Desired | None = None) -> None:
        """It has not been moved; with a manifest, since a person has ended it."""
        self._keep(name, {} if desired is None else {"ended": why, "wanted": _digest(desired)})

    def release(self, name: str) -> None:
        """It need not stay any more, if it had to."""
        if "ended" in self._of(name):
            self.stay(name)

    def ended(self, desired: Desired) -> str:
        """Why it is to stay until its manifest changes; "" if it is not."""
        kept = self._of(desired.name)
        return str(kept.get("ended", "")) if kept.get("wanted") == _digest(desired) else ""

    def wish(self, name: str, *, end: bool) -> None:
        """A person wants its migration to end, or does not any more.

        The command says so in a document of its own: a daemon that has found the migration under
        way is not told by libvirt who has ended it.

        Raises:
            OSError: that cannot be stored.
        """
        with self._store.change(Document.ABORT_REQUESTS) as entries:
            entries.pop(name, None)
            if end:
                entries[name] = True

    def wished(self, name: str) -> bool:
        """Whether a person wants its migration to end.

        Raises:
            OSError: that cannot be read.
        """
        return name in self._store.read(Document.ABORT_REQUESTS)

    def take_wish(self, name: str) -> bool:
        """Whether a person wanted its migration to end, which it has.

        What cannot be read stays for the time when it can.
        """
        try:
            if not self.wished(name):
                return False
        except Unreadable:
            return False
        try:
            self.wish(name, end=False)
        except OSError as error:
            _log.error(
                "not stored",
                document=Document.ABORT_REQUESTS,
                virtual_server=name,
                error=str(error),
            )
        return True

    def _of(self, name: str) -> Mapping[str, Any]:
        with self._lock:
            if name in self._unsaved:
                return self._unsaved[name]
        try:
            found: Mapping[str, Any] = self._store.read(Document.MIGRATIONS).get(name, {})
        except Unreadable:
            return {}
        return found

    def _keep(self, name: str, what: dict[str, Any]) -> None:
        try:
            self._note(name, what)
        except Unreadable:
            # The store reports it, and what is in the file counts again once it can be read.
            return
        except OSError as error:
            # It is known as long as this daemon lives.
            with self._lock:
                fresh = self._unsaved.get(name) != what
                self._unsaved[name] = what
            if fresh:
                _log.error(
                    "not stored",
                    document=Document.MIGRATIONS,
                    virtual_server=name,
                    error=str(error),
                )

    def _note(self, name: str, what: dict[str, Any]) -> None:
        if name not in self._unsaved and self._of(name) == what and not self.unreadable:
            return
        with self._store.change(Document.MIGRATIONS) as entries:
            entries.pop(name, None)
            if what:
                entries[name] = what
        with self._lock:
            self._unsaved.pop(name, None)


def _digest(desired: Desired) -> str:
    """Equal as long as a manifest states the same, in each process."""
    policy = (desired.policy.migration, sorted(desired.policy.copied))
    stated = (desired.statement.to_json(), desired.state, desired.host, desired.hosts, policy)
    return hashlib.sha256(repr(stated).encode()).hexdigest()
