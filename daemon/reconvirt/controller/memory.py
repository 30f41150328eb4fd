"""What is remembered of a virtual server between two looks at it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.requests import Requests
from reconvirt.controller.starts import StartRecord
from reconvirt.domain.actions import Destroy, Save, Shutdown, Start
from reconvirt.domain.changes import Plan, Step
from reconvirt.domain.desired import Desired
from reconvirt.domain.effects import Effect
from reconvirt.domain.lifecycle import RUNS
from reconvirt.domain.observed import Observed, State

FUTILE_TRIES = 5
"""After so many failures with the same plan and the same observation it counts as stalled."""

STALLED_SECONDS = 900.0
"""How long until what has stalled is tried again although nothing was heard of it."""


_HEARS = (*RUNS, State.SHUTDOWN)
"""The states in which a guest can follow a request."""


@dataclass(slots=True)
class Memory:
    """What is known of one virtual server since its last start.

    Nothing that matters is lost with it: a guest may be asked once more, or a change that libvirt
    refused to make live may be tried once more.

    Attributes:
        uuid: of the domain; "" before it is known.
        domain_id: libvirt's number of it while it is active; another one means another start.
        desired: what is wanted of it; None if its manifest is gone.
        requests: what its guest has been asked for.
        hindrances: why fields cannot be changed while it runs, by field.
        starts: when it was started lately.
        restarting_for: the fields for which it has been ended, to be started again.
        restarted_for: those for which it was started last.
        failure: the plan and the observation with which it failed last.
        failures: how often it has failed with these.
    """

    uuid: str = ""
    domain_id: int | None = None
    desired: Desired | None = None
    requests: Requests = field(default_factory=Requests)
    hindrances: dict[str, str] = field(default_factory=dict)
    starts: StartRecord = field(default_factory=StartRecord)
    restarting_for: frozenset[str] = frozenset()
    restarted_for: frozenset[str] = frozenset()
    failure: tuple[Plan, Observed | None] | None = None
    failures: int = 0

    def see(self, desired: Desired | None, observed: Observed | None, now: float) -> None:
        """Forget what another start, or another manifest, makes void.

        Args:
            desired: what is wanted now; None if its manifest is gone.
            observed: what libvirt has now; None if it has no such domain.
            now: seconds that never go back.
        """
        if observed is not None:
            self.uuid = observed.uuid
        domain_id = observed.domain_id if observed else None
        if self.domain_id != domain_id:
            self.domain_id = domain_id
            if domain_id is not None:
                self.restarted_for, self.restarting_for = self.restarting_for, frozenset()
            self.requests, self.hindrances = Requests(), {}
        if self.desired != desired:
            self.desired = desired
            self.requests, self.hindrances = Requests(), {}
            self.starts, self.restarted_for = StartRecord(), frozenset()
            self.failure = None
        if desired is not None:
            self.requests.policy = desired.policy.shutdown
        self.requests.see(now, runs=observed is not None and observed.state in _HEARS)

    def note(self, step: Step, plan: Plan, now: float) -> None:
        """Keep what later looks must know of a step that was taken."""
        if isinstance(step.action, Start):
            self.starts.started(now)
        elif isinstance(step.action, Shutdown | Save):
            self.starts.ended_by_us()
        if isinstance(step.action, Shutdown | Destroy):
            due = (each.field for each in plan.waiting if each.effect is Effect.NEXT_START)
            self.restarting_for = frozenset(due)

    def try_anew(self) -> None:
        """Forget what was asked for and what has failed."""
        self.requests = Requests(self.requests.policy)
        self.failure, self.starts = None, StartRecord()
        self.restarted_for = frozenset()

    def look_again(self, steps: Iterable[Step], now: float) -> float | None:
        """Seconds until the guest is asked again, or a start may be tried again; None if never."""
        waits = [self.requests.patience(step.action) for step in steps]
        if (left := self.starts.not_before - now) > 0:
            waits.append(left)
        return min(waits, default=None)

    def watch(self, outcome: Outcome) -> Outcome:
        """The outcome, which counts as stalled where failures repeat themselves to the letter."""
        if not outcome.retry:
            self.failure, self.failures = None, 0
            return outcome
        seen = (outcome.plan, outcome.observed)
        self.failures = self.failures + 1 if self.failure == seen else 1
        self.failure = seen
        if self.failures < FUTILE_TRIES:
            return outcome
        message = f"{outcome.message} (tried {self.failures} times, and nothing is different)"
        return replace(
            outcome,
            phase=Phase.STALLED,
            message=message,
            retry=False,
            again_after=STALLED_SECONDS,
        )
