"""What people can ask the daemon for; the local interface and the status page stand on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from reconvirt.controller.engine import Engine
from reconvirt.controller.explain import explain
from reconvirt.controller.history import Event, History
from reconvirt.controller.holds import Hold, HoldStore
from reconvirt.controller.pruner import Pruner
from reconvirt.controller.status import Fleet, Status, StatusBook
from reconvirt.domain.side_by_side import Line, lay_side_by_side
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.sweep import OBSERVE_SECONDS
from reconvirt.manifest.identity import derive_uuid
from reconvirt.manifest.model import Manifest


class Unknown(Exception):
    """There is no such virtual server; the text is for people."""


@dataclass(frozen=True, slots=True)
class Description:
    """All about one virtual server.

    Attributes:
        status: how it is.
        spec: what its manifest says; None if it has none.
        devices: desired, configured and running values beside each other.
        events: what has happened to it lately, the oldest first.
    """

    status: Status
    spec: Mapping[str, object] | None
    lines: tuple[Line, ...]
    events: tuple[Event, ...]


class Desk:
    """What people can ask for; every method may be called from any thread.

    Raises:
        Unknown: methods that are given a name, if it is nobody's.
        HypervisorError: those that look at libvirt, if it fails.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        book: StatusBook,
        history: History,
        holds: HoldStore,
        pruner: Pruner,
        hypervisor: Callable[[], Hypervisor],
        manifests: Callable[[], Mapping[str, Manifest]],
        poke_source: Callable[[], None],
        abort_migration: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._book = book
        self._history = history
        self._holds = holds
        self._pruner = pruner
        self._hypervisor = hypervisor
        self._manifests = manifests
        self._poke_source = poke_source
        self._abort_migration = abort_migration

    def fleet(self) -> Fleet:
        """The statuses of all virtual servers."""
        return self._book.fleet()

    def wait(self, version: int, seconds: float) -> Fleet:
        """The statuses as soon as they are newer than this version, or after so many seconds."""
        return self._book.wait(version, seconds)

    def status(self, name: str) -> Status:
        """The status of one virtual server."""
        found = self._book.fleet().servers.get(name)
        if found is None:
            raise Unknown(f"{name}: no manifest states it, and libvirt has none that is ours")
        return found

    def describe(self, name: str) -> Description:
        """All about one virtual server."""
        status, manifest = self.status(name), self._manifests().get(name)
        spec = manifest.spec if manifest else None
        events = tuple(self._history.since(0, name)[-50:])
        return Description(status, spec, self.lines(name), events)

    def lines(self, name: str) -> tuple[Line, ...]:
        """Desired, configured and running values of one virtual server beside each other."""
        desired = self._engine.wanted.get(name)
        if desired is None:
            return ()
        known = self._book.fleet().servers.get(name)
        hypervisor, uuid = self._hypervisor(), desired.expected_uuid
        # Whoever asks may go away; a thread that waits for a QEMU that hangs would not.
        observed = hypervisor.within(OBSERVE_SECONDS, lambda: hypervisor.observe(name, uuid))
        return lay_side_by_side(desired, observed, known.overlays if known else ())

    def explain(self, name: str) -> str:
        """What a virtual server is waiting for, and what can be done about it; a paragraph."""
        return explain(self.status(name), self.fleet())

    def events(self, number: int = 0, name: str | None = None) -> list[Event]:
        """The latest events after one of this number."""
        return self._history.since(number, name)

    def follow(
        self, number: int, stop: Callable[[], bool], seconds: float
    ) -> Iterator[list[Event]]:
        """The events after one of this number as they come, none after so many seconds."""
        return self._history.follow(number, stop, seconds)

    def reconcile(self, name: str) -> None:
        """Look at one virtual server now."""
        self.status(name)
        self._engine.look_at(name)

    def reconcile_source(self) -> None:
        """Read the manifests now."""
        self._poke_source()

    def hold(self, name: str, reason: str, who: str) -> Hold:
        """Have a virtual server left alone until it is released.

        Raises:
            OSError: the hold cannot be kept.
        """
        status, hold = self.status(name), Hold(reason, who, time.time())
        uuid = status.uuid or self._expected_uuid(name)
        self._holds.add(uuid, name, hold, confirmed=status.uuid is not None)
        self._engine.look_at(name)
        return hold

    def _expected_uuid(self, name: str) -> str:
        desired = self._engine.wanted.get(name)
        return desired.expected_uuid if desired else derive_uuid(name)

    def release(self, name: str, who: str) -> bool:
        """End a hold; False if there was none.

        Raises:
            OSError: the end cannot be kept.
        """
        status = self._book.fleet().servers.get(name)
        gone = name not in self._manifests()
        uuid = None if status is None else status.uuid
        released = self._holds.release(uuid, name, annotation=gone)
        if released:
            self._history.tell(name, "Released", f"by {who}")
            self._engine.look_at(name)
        return released

    def abort_migration(self, name: str, who: str) -> None:
        """End its migration; it goes on here, and stays until its manifest changes.

        Raises:
            HypervisorError: libvirt cannot end it, or none runs.
            OSError: it cannot be stored that it shall not be tried again.
        """
        self.status(name)
        self._abort_migration(name)
        self._history.tell(name, "MigrationAborted", f"by {who}", level="warning")

    def approve_prune(self, who: str) -> tuple[str, ...]:
        """Let those go whose manifests are gone and that are held; their names."""
        names = self._pruner.approve()
        if names:
            self._history.tell(
                "", "PruneApproved", f"by {who}: {', '.join(names)}", level="warning"
            )
        return names
