"""Finding the virtual servers whose manifests are gone, and what may be done about them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from reconvirt.controller.history import History
from reconvirt.controller.prune import NOTHING, Orphan, Verdict, find_orphans, judge_orphans
from reconvirt.domain.desired import Desired
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorError
from reconvirt.manifest.model import Snapshot


class Pruner:
    """Looks for orphans at each new snapshot, each new connection and each resync.

    Args:
        hypervisor: gives the current connection, or raises HypervisorDown.
        source: the name of the source of manifests.
        history: is told when something is held, and when it no longer is.
        on_verdict: gets all orphans and what may be done about them.
    """

    def __init__(
        self,
        hypervisor: Callable[[], Hypervisor],
        source: str,
        history: History,
        on_verdict: Callable[[Mapping[str, Orphan], Verdict], None],
    ) -> None:
        self._hypervisor = hypervisor
        self._source = source
        self._history = history
        self._on_verdict = on_verdict
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._wanted: Mapping[str, Desired] = {}
        self._approved: frozenset[str] = frozenset()
        self._verdict = NOTHING

    @property
    def verdict(self) -> Verdict:
        """What may be done now."""
        return self._verdict

    def want(self, snapshot: Snapshot, wanted: Mapping[str, Desired]) -> None:
        """Take over the manifests in force."""
        with self._lock:
            self._snapshot, self._wanted = snapshot, wanted
            # What was approved and has a manifest again is not approved for the next time.
            self._approved -= wanted.keys()
        self.look()

    def approve(self) -> tuple[str, ...]:
        """Let those go that are held now, and no others; their names."""
        with self._lock:
            names = tuple(sorted(self._verdict.held))
            self._approved |= set(names)
        self.look()
        return names

    def look(self) -> None:
        """Look for orphans now; without a connection nothing changes."""
        with self._lock:
            if self._snapshot is None:
                return
            try:
                marks = self._hypervisor().marks()
            except HypervisorError:
                return
            claimed = [each.uuid for each in self._wanted.values() if each.uuid is not None]
            orphans = find_orphans(marks, self._wanted, claimed, self._source)
            before = self._verdict
            self._verdict = judge_orphans(orphans, self._snapshot, self._approved)
            verdict = self._verdict
        if verdict.reason and verdict.reason != before.reason:
            names = ", ".join(verdict.held)
            self._history.tell("", "PruneHeld", f"{verdict.reason}: {names}", level="warning")
        elif before.reason and not verdict.reason:
            self._history.tell("", "PruneReleased", "nothing is held any more")
        self._on_verdict(orphans, verdict)
