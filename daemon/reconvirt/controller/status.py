"""The status of all virtual servers, for people and programs to read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from reconvirt.controller.conditions import Condition, Kind, conditions_of
from reconvirt.controller.holds import Hold
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.domain.changes import Change
from reconvirt.domain.migration import Progress
from reconvirt.domain.show import Shown
from reconvirt.manifest.problem import Problem

APPLIED = (Phase.CONVERGED, Phase.WAITING_FOR_RESTART)


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of one virtual server.

    Attributes:
        name: libvirt's name of it.
        uuid: its uuid; None where libvirt has none yet.
        state: its state, by virsh's words; None where libvirt has none.
        reason: the reason for the state.
        domain_id: libvirt's number of the running one.
        phase: how far it is from what its manifest wants.
        message: one sentence for people.
        conditions: what is the matter with it.
        manifest: file, line and column of its manifest; "" if it has none.
        labels: the administrator's own words.
        figures: vCPUs, memory and CPU weight as people read them, by field name.
        due: what would be changed now.
        waiting: what waits for a restart, or for the guest.
        refused: what will not be done.
        drifted: what was changed by hand.
        unlisted: devices that were attached by hand.
        diverged: disks whose source something else has moved; they are left where they are.
        overlays: disks on an overlay of the stated image, which is in sync.
        hold: who has had it left alone, and why.
        observed_revision: of the manifests that it was last looked at for.
        applied_revision: of those that it was last found to be as wanted.
        updated: when it was last looked at, in seconds since the epoch.
        next_look: when it is looked at again if nothing happens; None if it is not planned.
        step: the step that is being taken now; "" if none.
        migration: how far it is on its way to another host; None if it is not on its way.
    """

    name: str
    uuid: str | None = None
    state: str | None = None
    reason: str = ""
    domain_id: int | None = None
    phase: Phase = Phase.DIFFERS
    message: str = "it has not been reconciled yet"
    conditions: tuple[Condition, ...] = ()
    manifest: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Shown] = field(default_factory=dict)
    due: tuple[Change, ...] = ()
    waiting: tuple[Change, ...] = ()
    refused: tuple[Change, ...] = ()
    drifted: tuple[Change, ...] = ()
    unlisted: tuple[Change, ...] = ()
    diverged: tuple[Change, ...] = ()
    overlays: tuple[Change, ...] = ()
    hold: Hold | None = None
    observed_revision: str = ""
    applied_revision: str = ""
    updated: float = 0.0
    next_look: float | None = None
    step: str = ""
    migration: Progress | None = None

    def condition(self, kind: Kind) -> Condition | None:
        """One of its conditions; None if it is not there."""
        return next((each for each in self.conditions if each.kind is kind), None)


@dataclass(frozen=True, slots=True)
class Fleet:
    """All virtual servers of a host at one moment.

    Attributes:
        version: counts up with each change.
        servers: their statuses by name.
        revision: of the manifests in force.
        problems: what is wrong with other manifests.
        prune_held: why nothing is done about those whose manifests are gone; "" if nothing is held.
        connected: whether there is a connection to libvirt.
        state_problems: what is wrong with files in the state directory, a sentence each.
    """

    version: int = 0
    servers: Mapping[str, Status] = field(default_factory=dict)
    revision: str = ""
    problems: tuple[Problem, ...] = ()
    prune_held: str = ""
    connected: bool = False
    state_problems: tuple[str, ...] = ()


class StatusBook:
    """Where statuses are written by the daemon and read by everybody else; any thread may.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._fleet = Fleet()

    def fleet(self) -> Fleet:
        """All there is now."""
        return self._fleet

    def wait(self, version: int, seconds: float) -> Fleet:
        """All there is as soon as it is newer than this version, or after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._fleet.version > version, seconds)
            return self._fleet

    def describe(self, **changes: object) -> None:
        """Take over what concerns all: revision, problems, prune_held and others."""
        with self._changed:
            self._put(replace(self._fleet, **changes))  # type: ignore[arg-type]  # named above

    def update(
        self,
        outcome: Outcome,
        *,
        figures: Mapping[str, Shown],
        hold: Hold | None,
        manifest: str = "",
        labels: Mapping[str, str] | None = None,
        next_look: float | None = None,
    ) -> Status:
        """Write down what a look at a virtual server came to."""
        with self._changed:
            fleet, now = self._fleet, self._clock()
            before = fleet.servers.get(outcome.name, Status(outcome.name))
            kinds = {each.kind: each for each in before.conditions}
            applied = outcome.phase in APPLIED
            observed = outcome.observed
            status = Status(
                outcome.name,
                observed.uuid if observed else None,
                str(observed.state) if observed else None,
                observed.reason if observed else "",
                observed.domain_id if observed else None,
                outcome.phase,
                outcome.message,
                tuple(conditions_of(outcome, kinds, now).values()),
                manifest,
                labels or {},
                figures,
                tuple(change for step in outcome.plan.steps for change in step.changes),
                outcome.plan.waiting,
                outcome.plan.refused,
                outcome.plan.drifted,
                outcome.plan.unlisted,
                outcome.plan.diverged,
                outcome.plan.overlays,
                hold,
                fleet.revision,
                fleet.revision if applied else before.applied_revision,
                now,
                next_look,
                migration=before.migration,
            )
            self._put(replace(fleet, servers={**fleet.servers, outcome.name: status}))
            return status

    def expect(self, manifests: Mapping[str, str]) -> None:
        """Show those that manifests state and that have not been reconciled yet.

        Args:
            manifests: file, line and column of their manifests, by name.
        """
        with self._changed:
            known = self._fleet.servers
            new = {n: Status(n, manifest=at) for n, at in manifests.items() if n not in known}
            if new:
                self._put(replace(self._fleet, servers={**known, **new}))

    def step(self, name: str, verb: str) -> None:
        """A step is being taken; "" when it has ended."""
        with self._changed:
            status = self._fleet.servers.get(name, Status(name))
            servers = {**self._fleet.servers, name: replace(status, step=verb)}
            self._put(replace(self._fleet, servers=servers))

    def move(self, name: str, progress: Progress | None) -> None:
        """A virtual server is on its way to another host; None when it is no more."""
        with self._changed:
            status = self._fleet.servers.get(name, Status(name))
            servers = {**self._fleet.servers, name: replace(status, migration=progress)}
            self._put(replace(self._fleet, servers=servers))

    def remove(self, name: str) -> None:
        """A virtual server is no business of ours any more."""
        with self._changed:
            servers = {key: each for key, each in self._fleet.servers.items() if key != name}
            self._put(replace(self._fleet, servers=servers))

    def _put(self, fleet: Fleet) -> None:
        self._fleet = replace(fleet, version=self._fleet.version + 1)
        self._changed.notify_all()
