"""Finding the virtual servers whose manifests are gone, and deciding what is done about them.

The decision is made again whenever anything that it rests on changes, and :attr:`Pruner.decision`
is asked once more directly before each call: a manifest that returns cancels whatever is left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from reconvirt.controller.history import History
from reconvirt.controller.prune import (
    NOTHING,
    RECENTLY,
    Facts,
    Includes,
    Orphan,
    Standing,
    Verdict,
    find_orphans,
    judge_orphans,
    stand,
)
from reconvirt.controller.state_store import Document, StateStore, Unreadable
from reconvirt.domain.desired import Desired, Origin
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorError
from reconvirt.hypervisor.supervision import Beat
from reconvirt.manifest.model import Snapshot

_REFRESH = 5.0
"""Seconds after which the status says anew how much of a grace period is left."""

_AT_MOST_EVERY = 1.0
"""Seconds between two looks at all domains, whatever libvirt sends."""


class Pruner:
    """Decides about orphans at each new snapshot, connection and resync, and after events.

    Args:
        hypervisor: gives the current connection, or raises HypervisorDown.
        origin: the source of manifests.
        history: is told what is pending and what is held.
        on_verdict: gets what is to be said of all orphans, and what may be done about them.
        grace: for how many seconds a manifest must be gone; may be set at any time.
        store: keeps what was pruned lately.
        includes: whether the manifests in force are of a revision or a later one.
    """

    def __init__(
        self,
        hypervisor: Callable[[], Hypervisor],
        origin: Origin,
        history: History,
        on_verdict: Callable[[Mapping[str, Standing], Verdict], None],
        *,
        grace: float = 60.0,
        store: StateStore | None = None,
        includes: Includes = lambda _revision: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.grace = grace
        self._hypervisor = hypervisor
        self._origin = origin
        self._history = history
        self._on_verdict = on_verdict
        self._store = store or StateStore()
        self._includes = includes
        self._clock = clock
        self._wake = threading.Event()
        # Held while libvirt is asked, so that verdicts are given in order.
        self._looking = threading.Lock()
        # Held for moments only: whoever asks for the decision does not wait for libvirt.
        self.beat = Beat()
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._wanted: Mapping[str, Desired] = {}
        self._orphans: Mapping[str, Orphan] = {}
        self._known: frozenset[str] = frozenset()
        self._approved: frozenset[str] = frozenset()
        self._since: dict[str, float] = {}
        self._verdict = NOTHING

    @property
    def verdict(self) -> Verdict:
        """What may be done now."""
        return self._verdict

    @property
    def decision(self) -> Mapping[str, Orphan]:
        """The orphans that may be removed now, by name."""
        return self._verdict.pruned

    def want(self, snapshot: Snapshot, wanted: Mapping[str, Desired]) -> None:
        """Take over the manifests in force; what they want is not pruned from this moment on.

        libvirt is not asked: :meth:`look` finds who has no manifest now.
        """
        uuids = {each.expected_uuid for each in wanted.values()}
        with self._lock:
            self._snapshot, self._wanted = snapshot, wanted
            # What was approved and has a manifest again is not approved for the next time.
            self._approved -= uuids
            self._since = {
                uuid: since
                for uuid, since in self._since.items()
                if snapshot.complete and uuid not in uuids
            }
            self._verdict = _without(self._verdict, snapshot, wanted.keys() | uuids)

    def approve(self) -> tuple[str, ...]:
        """Let those go that are held now, and no others; their names."""
        with self._lock:
            held = {name: self._orphans[name] for name in self._verdict.held}
            self._approved |= {each.uuid for each in held.values()}
        self.look()
        return tuple(sorted(held))

    def poke(self) -> None:
        """Have :meth:`run` look soon; called on libvirt's event thread, too."""
        self._wake.set()

    def run(self, stop: threading.Event, resync: Callable[[], float]) -> None:
        """Look at each resync, when a grace period ends, and after :meth:`poke`, until ``stop``.

        Args:
            stop: ends it; :meth:`poke` makes that be seen at once.
            resync: gives the seconds between two looks.
        """
        while not stop.is_set():
            self.beat.wait(self._wake, self._pause(resync()))
            self._wake.clear()
            if not stop.is_set():
                self.look()
            self.beat.wait(stop, _AT_MOST_EVERY)

    def _pause(self, resync: float) -> float:
        pending = self._verdict.pending.values()
        return max(0.0, min(resync, _REFRESH, *pending)) if pending else resync

    def look(self) -> None:
        """Look for orphans now; without a connection only what manifests cancel changes."""
        with self._looking:
            while True:
                with self._lock:
                    snapshot, wanted, approved = self._snapshot, self._wanted, self._approved
                    known_since = self._since
                if snapshot is None:
                    return
                try:
                    marks = self._hypervisor().marks()
                    orphans = find_orphans(marks, wanted, self._origin)
                except HypervisorError:
                    self._publish(snapshot)
                    return
                since = self._date(orphans, snapshot, known_since)
                verdict = self._judge(orphans, snapshot, approved, since)
                with self._lock:
                    if self._snapshot is not snapshot or self._approved != approved:
                        continue  # decided on what is no longer so
                    before = (self._verdict, self._known)
                    self._verdict, self._orphans, self._since = verdict, orphans, since
                    if snapshot.complete:
                        self._known = frozenset(each.uuid for each in orphans.values())
                break
            self._tell(*before, snapshot)
            self._publish(snapshot)

    def _date(
        self, orphans: Mapping[str, Orphan], snapshot: Snapshot, known: Mapping[str, float]
    ) -> dict[str, float]:
        """Since when each orphan of which something is to be done has been one, by uuid."""
        now = self._clock()
        due = [each.uuid for each in orphans.values() if each.due and snapshot.complete]
        return {uuid: known.get(uuid, now) for uuid in due}

    def _judge(
        self,
        orphans: Mapping[str, Orphan],
        snapshot: Snapshot,
        approved: frozenset[str],
        since: Mapping[str, float],
    ) -> Verdict:
        now = self._clock()
        facts = Facts(
            approved,
            lambda orphan: since.get(orphan.uuid, now) + self.grace - now,
            self._includes,
        )
        try:
            facts = replace(facts, recent=self._recent(snapshot))
            verdict = judge_orphans(orphans, snapshot, facts)
            self._note(verdict, approved)
        except (Unreadable, OSError) as error:
            # How many went lately is not known, or would not be known after a restart.
            verdict = judge_orphans(orphans, snapshot, replace(facts, doubt=str(error)))
        return verdict

    def _recent(self, snapshot: Snapshot) -> frozenset[str]:
        """Those that were pruned lately, and have no manifest again."""
        now, back = time.time(), {each.effective_uuid for each in snapshot.manifests.values()}
        return frozenset(
            uuid
            for uuid, entry in self._store.read(Document.PRUNES).items()
            if uuid not in back and _time_of(entry) > now - RECENTLY
        )

    def _note(self, verdict: Verdict, approved: frozenset[str]) -> None:
        """Keep what is pruned, before anything is done; what a person approved does not count."""
        new = {each.uuid: name for name, each in verdict.pruned.items()}
        known = self._store.read(Document.PRUNES)
        if all(uuid in known or uuid in approved for uuid in new):
            return
        now = time.time()
        with self._store.change(Document.PRUNES) as entries:
            for uuid, entry in list(entries.items()):
                if _time_of(entry) <= now - RECENTLY:
                    del entries[uuid]
            for uuid, name in new.items():
                if uuid not in approved:
                    entries.setdefault(uuid, {"name": name, "time": now})

    def _publish(self, snapshot: Snapshot) -> None:
        with self._lock:
            orphans, verdict, known = self._orphans, self._verdict, self._known
            uuids = {each.expected_uuid for each in self._wanted.values()}
            unwanted = {
                name: each
                for name, each in orphans.items()
                if name not in self._wanted and each.uuid not in uuids
            }
        self._on_verdict(stand(unwanted, verdict, snapshot, known), verdict)

    def _tell(self, before: Verdict, known: frozenset[str], snapshot: Snapshot) -> None:
        tell, verdict = self._history.tell, self._verdict
        for name, standing in stand(self._orphans, verdict, snapshot, self._known).items():
            if name in verdict.pending and name not in before.pending:
                tell(name, "PrunePending", standing.message, level="warning")
            elif snapshot.complete and standing.orphan.uuid not in known:
                tell(name, "ManifestGone", standing.message)
        for name in before.pending.keys() & self._wanted.keys():
            tell(name, "PruneCancelled", "its manifest is back")
        if verdict.reason and verdict.reason != before.reason:
            names = ", ".join(sorted(verdict.held))
            tell("", "PruneHeld", f"{verdict.reason}: {names}", level="warning")
        elif before.reason and not verdict.reason:
            tell("", "PruneReleased", "nothing is held any more")


def _without(verdict: Verdict, snapshot: Snapshot, wanted: AbstractSet[str]) -> Verdict:
    """The verdict without those that are wanted; no removal while manifests cannot be read.

    Args:
        verdict: what might be done before.
        snapshot: the manifests in force.
        wanted: the names and the uuids that these want.
    """
    pruned = {
        name: each
        for name, each in verdict.pruned.items()
        if snapshot.complete and name not in wanted and each.uuid not in wanted
    }
    return replace(verdict, pruned=pruned)


def _time_of(entry: object) -> float:
    """When one was pruned, in seconds since the epoch; now, if that is not to be read."""
    found = entry.get("time") if isinstance(entry, dict) else None
    return float(found) if isinstance(found, int | float) else time.time()
