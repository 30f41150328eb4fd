"""Every host that was ever known: any of them may still run one of our virtual servers.

Manifests only add to this list. What shortens it is an answer of the host itself that it has none
of ours, or a person who says so of a host that is fenced.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from reconvirt.controller.state_store import Document, StateStore, Unreadable
from reconvirt.domain.peers import HostAnswer, HostIdentity
from reconvirt.manifest.host import HostManifest

_READ_AGAIN_SECONDS = 1.0
"""After how long the file is read again: a command may have changed it."""
_NOTE_ANSWER_SECONDS = 60.0
"""How much newer an answer must be for its time to be written down."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownHost:
    """Another host, by the URI at which it is asked.

    Attributes:
        name: what it is called here; its URI where another known host has its name by now.
        uri: how its libvirt is reached.
        identity: which host has answered there last.
        first_seen: when a manifest first described it, in seconds since the epoch.
        last_seen: when one last did.
        last_answer: when it last answered; 0 if it never has.
        described: whether a manifest describes it now; else it is retired.
    """

    name: str
    uri: str
    identity: HostIdentity = field(default_factory=HostIdentity)
    first_seen: float = 0.0
    last_seen: float = 0.0
    last_answer: float = 0.0
    described: bool = True


class KnownHosts:
    """The other hosts that were ever known, in the state directory.

    Args:
        store: keeps them.
        own: the name of this host, which is not in the list.
        clock: seconds since the epoch.
    """

    def __init__(self, store: StateStore, own: str, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._own = own
        self._clock = clock
        self._lock = threading.Lock()
        self._described: dict[str, str] = {}
        self._own_uri = ""
        self._own_leads_here: bool | None = None
        self._unkept: dict[str, Any] = {}
        self._read: Mapping[str, Any] | None = None
        self._read_at = 0.0

    def take(self, hosts: Mapping[str, HostManifest]) -> str:
        """Add the hosts of manifests.

        Returns:
            Why they cannot be kept, "" if they are: then they are known as long as we run.
        """
        before = self._unkept
        self.describe(hosts)
        new, now = self._unkept, self._clock()

        def add(entries: dict[str, Any]) -> None:
            for uri, entry in new.items():
                known = entries.setdefault(uri, entry)
                known["name"] = entry["name"]
                # Not at each reading of the manifests: the file would be written each time.
                if now - float(known.get("last_seen", 0)) > _NOTE_ANSWER_SECONDS:
                    known["last_seen"] = now

        try:
            self._change(add)
        except (OSError, Unreadable) as error:
            self._unkept = {**before, **new}
            return str(error)
        self._unkept = {}
        return ""

    def describe(self, hosts: Mapping[str, HostManifest]) -> None:
        """Take it that these are the hosts of the manifests, without keeping them."""
        self._described = {each.uri: name for name, each in hosts.items() if name != self._own}
        self._unkept = self._as_entries()
        uri = hosts[self._own].uri if self._own in hosts else ""
        if uri != self._own_uri:
            self._own_uri, self._own_leads_here = uri, None

    def _as_entries(self) -> dict[str, Any]:
        now = self._clock()
        return {uri: {"name": name, "first_seen": now} for uri, name in self._described.items()}

    def others(self) -> tuple[KnownHost, ...]:
        """All known hosts but this one.

        Raises:
            Unreadable: it is not known which there are.
        """
        # Those that manifests describe are known whatever the file says.
        entries = {**self._as_entries(), **self._unkept, **self._entries()}
        described = set(self._described.values())
        found = []
        for uri, entry in entries.items():
            now_described = uri in self._described
            name = self._described.get(uri) or str(entry.get("name", uri))
            if not now_described and (name in described or name == self._own):
                name = uri
            found.append(
                KnownHost(
                    name,
                    uri,
                    _identity(entry),
                    entry.get("first_seen", 0.0),
                    entry.get("last_seen", 0.0),
                    entry.get("last_answer", 0.0),
                    now_described,
                )
            )
        if (own := self.own_described) is not None and not self._own_leads_here:
            found = [each for each in found if each.uri != own.uri]
            found.append(replace(own, identity=_identity(entries.get(own.uri, {}))))
        return tuple(_unique(found))

    @property
    def own_described(self) -> KnownHost | None:
        """Where the manifest of this host's own name leads; None if there is none.

        It may be another libvirt: of a host whose configuration has been copied here. Until it is
        shown to be this one, it is asked like all others.
        """
        return KnownHost(self._own_uri, self._own_uri) if self._own_uri else None

    def own_is_not_asked(self) -> bool:
        """Take it that the manifest of this host's own name leads here, unless it did not.

        It cannot be asked from here. Returns whether that was not known before.
        """
        new = self._own_leads_here is None
        self._own_leads_here = self._own_leads_here is not False
        return new

    def own_leads(self, *, here: bool, identity: HostIdentity) -> bool:
        """Note where the manifest of this host's own name leads; whether that is new.

        Args:
            here: whether it is this libvirt, for all that is known.
            identity: which one it is otherwise.
        """
        uri, before = self._own_uri, self._own_leads_here
        self._own_leads_here = here
        if here or before is False:
            return before is not here
        now = self._clock()
        entry = {"name": uri, "first_seen": now, "last_seen": now, "last_answer": now}
        entry |= {"host_uuid": identity.uuid, "hostname": identity.hostname}
        try:
            self._change(lambda entries: entries.update({uri: entry}))
        except (OSError, Unreadable) as error:
            _log.error("host not kept", uri=uri, error=str(error))
        return True

    @property
    def trouble(self) -> str:
        """Why it is not known which hosts there are; "" if it is."""
        try:
            self._entries()
        except Unreadable as error:
            return f"it is not known which other hosts there are: {error}"
        return ""

    def heard(self, uri: str, answer: HostAnswer) -> HostIdentity | None:
        """Note that a host has answered; the host that answered there before, if it is another.

        Another URI of the same host that no manifest describes any more is dropped: both lead to
        one libvirt. A host whose URI leads to another one by now stays known, and cannot be asked.
        """
        now, identity = self._clock(), answer.identity
        before: list[HostIdentity] = []

        def note(entries: dict[str, Any]) -> None:
            entry = entries.get(uri)
            if entry is None:
                return
            known = _identity(entry)
            if known not in (identity, HostIdentity()):
                before.append(known)
                if uri not in self._described:
                    return  # The one that was meant has not answered.
                if known.is_other(identity):
                    entries[f"{uri}#{known.hostname}"] = dict(entry)
            if known != identity or now - entry.get("last_answer", 0) > _NOTE_ANSWER_SECONDS:
                entry |= {
                    "host_uuid": identity.uuid,
                    "hostname": identity.hostname,
                    "last_answer": now,
                }
            if uri in self._described:
                self._drop_other_uris(entries, identity)

        try:
            self._change(note)
        except (OSError, Unreadable) as error:
            _log.error("answer of a host not kept", uri=uri, error=str(error))
        return before[0] if before else None

    def _drop_other_uris(self, entries: dict[str, Any], identity: HostIdentity) -> None:
        for uri, each in list(entries.items()):
            if uri not in self._described and identity.is_same(_identity(each)):
                del entries[uri]

    def forget(self, uri: str) -> None:
        """Take a host out of the list.

        Raises:
            OSError: that cannot be kept.
            Unreadable: it is not known which hosts there are.
        """
        self._change(lambda entries: entries.pop(uri, None))

    def _entries(self) -> Mapping[str, Any]:
        with self._lock:
            now = time.monotonic()
            if self._read is None or now - self._read_at > _READ_AGAIN_SECONDS:
                self._read = None
                self._read = _checked(self._store.read(Document.HOSTS))
                self._read_at = now
            return self._read

    def _change(self, change: Callable[[dict[str, Any]], object]) -> None:
        with self._lock:
            self._read = None
            with self._store.change(Document.HOSTS) as entries:
                _checked(entries)
                change(entries)


def _identity(entry: Mapping[str, Any]) -> HostIdentity:
    return HostIdentity(entry.get("host_uuid", ""), entry.get("hostname", ""))


def _checked(entries: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entries, if they have the form that they must have.

    Raises:
        Unreadable: they have not.
    """
    for uri, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise Unreadable(f"{Document.HOSTS}: the entry of {uri} is no host; repair the file")
    return entries


def _unique(hosts: Iterable[KnownHost]) -> Iterable[KnownHost]:
    """The same, where none has the name of another one."""
    taken: set[str] = set()
    for each in sorted(hosts, key=lambda host: (not host.described, host.name, host.uri)):
        yield replace(each, name=each.uri) if each.name in taken else each
        taken.add(each.name)
