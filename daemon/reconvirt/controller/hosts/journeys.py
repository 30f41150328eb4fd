"""Where virtual servers were sent, and which of them a person has had stay.

libvirt does not tell to which host a migration goes that runs: a daemon that is started anew must
know it, where several hosts may be the one.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import structlog

from reconvirt.controller.kept import read_kept, write_kept
from reconvirt.domain.desired import Desired

_log = structlog.get_logger(__name__)


class Journeys:
    """Kept in a file, by the names of virtual servers.

    Args:
        state_directory: where it is.
    """

    def __init__(self, state_directory: Path) -> None:
        self._file = state_directory / "journeys.json"
        self._wishes = state_directory / "to-end.json"
        self._lock = threading.Lock()
        self._wishing = threading.Lock()
        self._kept: dict[str, Any] | None = None

    def host(self, name: str) -> str:
        """The host to which a virtual server was sent last; "" where it is not known."""
        return str(self._of(name).get("host", ""))

    def underway(self, name: str) -> str:
        """The host to which it is on its way, for all that is known; "" for none."""
        kept = self._of(name)
        return "" if kept.get("arrived") else str(kept.get("host", ""))

    def send(self, name: str, host: str) -> None:
        """It is sent to a host; raises OSError if that cannot be kept."""
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

        The command says so in a file of its own: a daemon that has found the migration under way is
        not told by libvirt who has ended it.

        Raises:
            OSError: that cannot be kept.
        """
        with self._wishing:
            wishes = read_kept(self._wishes) or {}
            write_kept(self._wishes, _with(wishes, name, True if end else None))

    def wished(self, name: str) -> bool:
        """Whether a person wants its migration to end."""
        return name in (read_kept(self._wishes) or {})

    def take_wish(self, name: str) -> bool:
        """Whether a person wanted its migration to end, which it has."""
        if not self.wished(name):
            return False
        try:
            self.wish(name, end=False)
        except OSError as error:
            _log.error("not kept", file=str(self._wishes), virtual_server=name, error=str(error))
        return True

    def _of(self, name: str) -> dict[str, Any]:
        with self._lock:
            found: dict[str, Any] = self._read().get(name, {})
            return found

    def _keep(self, name: str, what: dict[str, Any]) -> None:
        try:
            self._note(name, what)
        except OSError as error:
            # It holds as long as this daemon lives.
            with self._lock:
                self._kept = _with(self._read(), name, what)
            _log.error("not kept", file=str(self._file), virtual_server=name, error=str(error))

    def _note(self, name: str, what: dict[str, Any]) -> None:
        with self._lock:
            kept = self._read()
            if kept.get(name, {}) == what:
                return
            kept = _with(kept, name, what)
            write_kept(self._file, kept)
            self._kept = kept

    def _read(self) -> dict[str, Any]:
        if self._kept is None:
            # One that cannot be read is told once: it is asked at each look.
            self._kept = read_kept(self._file) or {}
        return dict(self._kept)


def _with(kept: dict[str, Any], name: str, what: Any) -> dict[str, Any]:
    """What is kept, with this of one virtual server; nothing of it if there is nothing to say."""
    return {**{each: kept[each] for each in kept if each != name}, **({name: what} if what else {})}


def _digest(desired: Desired) -> str:
    """Equal as long as a manifest states the same, in each process."""
    policy = (desired.policy.migration, sorted(desired.policy.copied))
    stated = (desired.statement.to_json(), desired.state, desired.host, desired.hosts, policy)
    return hashlib.sha256(repr(stated).encode()).hexdigest()
