"""Fences: hosts of which a person, or a fencing tool, has made sure that they are off.

A fence ends when the host is heard of again. It says which host was meant (its URI and libvirt's
host uuid) and since when: what was asked before does not end it, and what answers afterwards does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog

from reconvirt.controller.hosts.known_hosts import KnownHost
from reconvirt.controller.state_store import Document, StateStore, Unreadable

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fence:
    """That a host is off for sure.

    Attributes:
        reason: how it was made sure of.
        who: who says so.
        since: since when, in seconds since the epoch.
        uri: at which URI the host was known; "" in files of reconvirt 0.1: whatever has its name.
        host_uuid: libvirt's host uuid of it; "" if it never answered.
    """

    reason: str
    who: str
    since: float
    uri: str = ""
    host_uuid: str = ""


class Fences:
    """The fences of this host's state directory.

    Args:
        store: keeps them.
        tell: told of each that is set or ended: a reason as a word, and a sentence.
    """

    def __init__(
        self, store: StateStore, tell: Callable[[str, str], None] = lambda _reason, _message: None
    ) -> None:
        self._store = store
        self._tell = tell
        self._lock = threading.Lock()
        self._told: dict[str, Fence] = {}

    def all(self) -> Mapping[str, Fence]:
        """All fences, by the name of the host; none where they cannot be read."""
        try:
            found = _parsed(self._store.read(Document.FENCES))
        except Unreadable:
            # The careful answer: no host counts as off. The store has reported it.
            return {}
        with self._lock:
            for name, fence in found.items():
                if self._told.get(name) != fence:
                    self._told[name] = fence
                    self._tell("HostFenced", f"{name} counts as off: {fence.reason} ({fence.who})")
            for name in self._told.keys() - found.keys():
                del self._told[name]
        return found

    def names(self) -> frozenset[str]:
        """The names of the hosts that count as off."""
        return frozenset(self.all())

    def covers(self, host: KnownHost) -> bool:
        """Whether a host counts as off."""
        return any(
            fence.uri == host.uri or (not fence.uri and name == host.name)
            for name, fence in self.all().items()
        )

    def add(self, host: KnownHost, fence: Fence) -> None:
        """Have a host count as off.

        Raises:
            OSError: it cannot be kept.
            Unreadable: those that there are cannot be read.
        """
        with self._store.change(Document.FENCES) as entries:
            bound = replace(fence, uri=host.uri, host_uuid=host.identity.uuid)
            entries[host.name] = asdict(bound)

    def heard(self, host: KnownHost, host_uuid: str, asked: float) -> None:
        """End the fences of a host that has answered.

        Args:
            host: the host that was asked.
            host_uuid: libvirt's host uuid, as it has answered.
            asked: when it was asked, in seconds since the epoch.
        """

        def is_its(name: str, fence: Fence) -> bool:
            same = bool(host_uuid) and fence.host_uuid == host_uuid
            return same or fence.uri == host.uri or (not fence.uri and name == host.name)

        self._end(lambda name, fence: asked >= fence.since and is_its(name, fence), "has answered")

    def seen_alive(self, name: str, now: float, patience: float) -> None:
        """End the fence of a host whose sign of life in etcd is there.

        Args:
            name: the host.
            now: seconds since the epoch.
            patience: how many seconds a sign of life outlasts its host.
        """
        self._end(
            lambda other, fence: other == name and now > fence.since + patience,
            "is heard of in etcd",
        )

    def release(self, name: str) -> None:
        """End a fence: the host is not known any more.

        Raises:
            OSError: it cannot be kept.
            Unreadable: those that there are cannot be read.
        """
        with self._store.change(Document.FENCES) as entries:
            entries.pop(name, None)

    def _end(self, is_over: Callable[[str, Fence], bool], why: str) -> None:
        if not any(is_over(name, fence) for name, fence in self.all().items()):
            return
        ended: list[str] = []
        try:
            with self._store.change(Document.FENCES) as entries:
                # Read again under the lock: a fence that was set meanwhile is a later one.
                for name, fence in _parsed(entries).items():
                    if is_over(name, fence):
                        del entries[name]
                        ended.append(name)
        except (OSError, Unreadable) as error:
            _log.error("fence not ended", error=str(error))
            return
        for name in ended:
            self._tell("FenceEnded", f"{name} {why}: it does not count as off any more")


def _parsed(entries: Mapping[str, Any]) -> dict[str, Fence]:
    """The fences of a document.

    Raises:
        Unreadable: an entry is none.
    """
    try:
        return {name: Fence(**entry) for name, entry in entries.items()}
    except TypeError as error:
        raise Unreadable(f"{Document.FENCES}: {error}; repair the file, or remove it") from error
