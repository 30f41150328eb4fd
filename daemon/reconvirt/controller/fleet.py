"""The state of all virtual servers at one moment, as the metrics tell it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.status import Status
from reconvirt.domain.effects import Effect
from reconvirt.manifest.model import Manifest, Snapshot
from reconvirt.metrics.fleet import FleetStatus, Managed, Migration
from reconvirt.metrics.observer import SILENT, Observer, Result

Migrated: TypeAlias = tuple[tuple[Migration, ...], Mapping[str, int]]
"""Migrations that go on or have ended, and how many have ended, by how."""

_WITHOUT_MANIFEST = (Phase.UNMANAGED, Phase.UNREADABLE)


class FleetView:
    """Follows manifests and outcomes.

    Args:
        connected: whether there is a connection to libvirt.
        statuses: the statuses of all virtual servers by name.
        prune_held: how many are not given up although their manifests are gone.
        migrations: those that go on or have ended, and how many have ended, by how.
    """

    def __init__(
        self,
        connected: Callable[[], bool],
        statuses: Callable[[], Mapping[str, Status]] = dict,
        prune_held: Callable[[], int] = int,
        migrations: Callable[[], Migrated] = lambda: ((), {}),
    ) -> None:
        self.observer: Observer = SILENT
        self._connected = connected
        self._statuses = statuses
        self._prune_held = prune_held
        self._migrations = migrations
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._outcomes: dict[str, Outcome] = {}
        self._pending: set[str] = set()
        self._applied = ""

    def accepted(self, snapshot: Snapshot) -> None:
        """Other manifests are in force now."""
        with self._lock:
            before, self._snapshot = self._snapshot, snapshot
            known: Mapping[str, Manifest] = before.manifests if before else {}
            changed = [
                manifest
                for name, manifest in snapshot.manifests.items()
                if name not in known or known[name].digest != manifest.digest
            ]
            self._pending = (self._pending & snapshot.manifests.keys()) | {
                manifest.name for manifest in changed
            }
        if before is None:
            return  # when those were written says nothing of how fast we are
        for manifest in changed:
            if (written := _written_at(manifest)) is not None:
                self.observer.wanted(manifest.name, written)

    def settled(self, outcome: Outcome) -> None:
        """A reconcile has come to this."""
        with self._lock:
            if outcome.phase in _WITHOUT_MANIFEST:
                self._outcomes.pop(outcome.name, None)
            else:
                self._outcomes[outcome.name] = outcome
            self._pending.discard(outcome.name)
            snapshot = self._snapshot
            if snapshot is not None and not self._pending and self._all_converged(snapshot):
                self._applied = snapshot.revision
        if outcome.phase in _WITHOUT_MANIFEST:
            self.observer.unmanaged(outcome.name)
        failed = outcome.phase is Phase.FAILED
        self.observer.reconciled(
            outcome.name,
            _result(outcome),
            converged=outcome.phase is Phase.CONVERGED,
            terminal=failed and not outcome.retry,
        )

    def status(self) -> FleetStatus:
        """The state now; asked for at every scrape, so nothing is waited for."""
        with self._lock:
            snapshot = self._snapshot
        statuses = self._statuses()
        if snapshot is None:
            return FleetStatus(connected=self._connected())
        invalid = {problem.position for problem in snapshot.problems}
        return FleetStatus(
            tuple(
                _managed(manifest, statuses.get(name))
                for name, manifest in snapshot.manifests.items()
            ),
            {
                "valid": len(snapshot.manifests) - len(snapshot.retained),
                "retained": len(snapshot.retained),
                "invalid": len({position.file for position in invalid}),
            },
            snapshot.revision,
            self._applied,
            self._prune_held(),
            self._connected(),
            *self._migrations(),
        )

    def _all_converged(self, snapshot: Snapshot) -> bool:
        return all(
            name in self._outcomes
            and self._outcomes[name].phase in (Phase.CONVERGED, Phase.ELSEWHERE)
            for name in snapshot.manifests
        )


def _result(outcome: Outcome) -> Result:
    if outcome.phase is Phase.FAILED:
        return "error"
    return "success" if outcome.again_after is None else "requeue_after"


def _managed(manifest: Manifest, status: Status | None) -> Managed:
    told = (manifest.name, manifest.digest[:12], str(manifest.position), manifest.labels)
    if status is None:
        return Managed(*told)
    restart = (each.field for each in status.waiting if each.effect is Effect.NEXT_START)
    return Managed(
        *told,
        phase=status.phase,
        conditions={str(each.kind): each.status for each in status.conditions},
        drift=len({each.field for each in (*status.drifted, *status.unlisted)}),
        restart_fields=tuple(dict.fromkeys(restart)),
        held="" if status.hold is None else status.hold.reason,
    )


def _written_at(manifest: Manifest) -> float | None:
    try:
        return Path(manifest.position.file).stat().st_mtime
    except OSError:
        return None
