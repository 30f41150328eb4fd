"""The state of all virtual servers at one moment, as the metrics tell it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.manifest.model import Manifest, Snapshot
from reconvirt.metrics.fleet import FleetStatus, Managed
from reconvirt.metrics.observer import SILENT, Observer, Result


class FleetView:
    """Follows manifests and outcomes.

    Args:
        connected: whether there is a connection to libvirt.
    """

    def __init__(self, connected: Callable[[], bool]) -> None:
        self.observer: Observer = SILENT
        self._connected = connected
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
            if outcome.phase is Phase.UNMANAGED:
                self._outcomes.pop(outcome.name, None)
            else:
                self._outcomes[outcome.name] = outcome
            self._pending.discard(outcome.name)
            snapshot = self._snapshot
            if snapshot is not None and not self._pending and self._all_converged(snapshot):
                self._applied = snapshot.revision
        if outcome.phase is Phase.UNMANAGED:
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
            snapshot, outcomes = self._snapshot, dict(self._outcomes)
        if snapshot is None:
            return FleetStatus(connected=self._connected())
        invalid = {problem.position for problem in snapshot.problems}
        return FleetStatus(
            tuple(
                _managed(manifest, outcomes.get(name))
                for name, manifest in snapshot.manifests.items()
            ),
            {
                "valid": len(snapshot.manifests) - len(snapshot.retained),
                "retained": len(snapshot.retained),
                "invalid": len({position.file for position in invalid}),
            },
            snapshot.revision,
            self._applied,
            connected=self._connected(),
        )

    def _all_converged(self, snapshot: Snapshot) -> bool:
        return all(
            name in self._outcomes and self._outcomes[name].phase is Phase.CONVERGED
            for name in snapshot.manifests
        )


def _result(outcome: Outcome) -> Result:
    if outcome.phase is Phase.FAILED:
        return "error"
    return "success" if outcome.again_after is None else "requeue_after"


def _managed(manifest: Manifest, outcome: Outcome | None) -> Managed:
    told = (manifest.name, manifest.digest[:12], str(manifest.position), manifest.labels)
    if outcome is None:
        return Managed(*told)
    plan, phase = outcome.plan, outcome.phase
    due = [change.field for step in plan.steps for change in step.changes]
    other = [change.field for change in (*plan.waiting, *plan.refused, *plan.unlisted)]
    stalled = phase in {Phase.REFUSED, Phase.NO_ANSWER} or (
        phase is Phase.FAILED and not outcome.retry
    )
    return Managed(
        *told,
        phase=phase,
        conditions={
            "Ready": phase is Phase.CONVERGED,
            "Reconciling": phase in {Phase.DIFFERS, Phase.WAITING_FOR_GUEST},
            "Stalled": stalled,
            "RestartRequired": bool(plan.waiting),
            "Drifted": bool(due or other),
        },
        drift=len({*due, *other}),
        restart_fields=tuple(dict.fromkeys(change.field for change in plan.waiting)),
    )


def _written_at(manifest: Manifest) -> float | None:
    try:
        return Path(manifest.position.file).stat().st_mtime
    except OSError:
        return None
