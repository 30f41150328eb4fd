"""What a look at one virtual server came to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reconvirt.domain.changes import Plan, Step
from reconvirt.domain.effects import Effect


class Phase(StrEnum):
    """How far a virtual server is from what its manifest wants."""

    DIFFERS = "differs"
    """Steps are due."""
    CONVERGED = "converged"
    """It is as wanted."""
    WAITING_FOR_RESTART = "waiting for a restart"
    """All that can be done while it runs is done."""
    WAITING_FOR_GUEST = "waiting for the guest"
    """The guest was asked and has not answered yet."""
    NO_ANSWER = "guest does not answer"
    """The guest was asked often enough, or has refused."""
    REFUSED = "refused"
    """Something is wanted that reconvirt does not do."""
    FAILED = "failed"
    """libvirt failed; it is tried again."""
    UNMANAGED = "not managed"
    """Its manifest is gone; it is left as it is."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one reconcile.

    Attributes:
        name: the virtual server.
        phase: how far it got.
        message: one sentence for people.
        plan: what is left, as seen after the last step.
        steps: the steps that were taken.
        retry: whether a failure is worth another try before anything changes.
        again_after: seconds until it is to be looked at again; None for the usual resync.
    """

    name: str
    phase: Phase
    message: str
    plan: Plan
    steps: tuple[Step, ...] = ()
    retry: bool = False
    again_after: float | None = None


def settle(plan: Plan, complaint: str = "") -> tuple[Phase, str]:
    """The phase and the sentence for a plan in which no step can be taken now.

    Args:
        plan: what is left.
        complaint: what the guest does not answer; "" while there is hope.
    """
    if plan.refused:
        change = plan.refused[0]
        return Phase.REFUSED, f"{change.field}: {change.reason}"
    if complaint:
        return Phase.NO_ANSWER, complaint
    asked = [change for step in plan.steps for change in step.changes]
    if asked or any(change.effect is Effect.GUEST for change in plan.waiting):
        names = ", ".join(dict.fromkeys(change.field for change in asked or plan.waiting))
        return Phase.WAITING_FOR_GUEST, f"the guest has been asked: {names}"
    if plan.waiting:
        names = ", ".join(dict.fromkeys(change.field for change in plan.waiting))
        return Phase.WAITING_FOR_RESTART, f"at next start: {names}"
    if plan.unlisted:
        names = ", ".join(change.field for change in plan.unlisted)
        return Phase.CONVERGED, f"as its manifest wants it; attached by hand: {names}"
    return Phase.CONVERGED, "as its manifest wants it"
