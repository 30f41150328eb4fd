"""What a look at one virtual server came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from reconvirt.domain.changes import Plan, Step
from reconvirt.domain.effects import Effect
from reconvirt.domain.observed import Observed


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
    WAITING = "waiting"
    """Something else must happen first: a start of another one, an end of libvirt's work."""
    STALLED = "stalled"
    """The same was tried several times and has changed nothing."""
    DRIFTED = "drifted"
    """Something was changed by hand, and its policy is to tell it only."""
    HELD = "held"
    """It is left alone on purpose."""
    NO_ANSWER = "guest does not answer"
    """The guest was asked often enough, or has refused."""
    REFUSED = "refused"
    """Something is wanted that reconvirt does not do."""
    FAILED = "failed"
    """libvirt failed; it is tried again."""
    ELSEWHERE = "on another host"
    """It is another host's."""
    UNMANAGED = "not managed"
    """Its manifest is gone."""
    UNREADABLE = "manifest not readable"
    """No manifest in force states it, and not all manifests can be read."""


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
        observed: the virtual server as it was last observed; None if there is none.
        hold: why it is left alone; None if it is not.
        other_host: the other host that has it, or may have it; "" if that is nobody.
    """

    name: str
    phase: Phase
    message: str
    plan: Plan
    steps: tuple[Step, ...] = ()
    retry: bool = False
    again_after: float | None = None
    observed: Observed | None = field(default=None, repr=False)
    hold: str | None = None
    other_host: str = ""


def settle(  # noqa: PLR0911 - one return a phase
    plan: Plan, complaint: str = ""
) -> tuple[Phase, str]:
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
    awaited = [change for change in plan.waiting if change.effect is Effect.GUEST]
    asked = [change for step in plan.steps for change in step.changes]
    if asked:
        names = ", ".join(dict.fromkeys(change.field for change in asked))
        return Phase.WAITING_FOR_GUEST, f"the guest has been asked: {names}"
    if awaited:
        return Phase.WAITING, "; ".join(f"{each.field}: {each.reason}" for each in awaited)
    if plan.drifted:
        names = ", ".join(dict.fromkeys(change.field for change in plan.drifted))
        return Phase.DRIFTED, f"changed by hand, and only reported: {names}"
    if plan.waiting:
        names = ", ".join(dict.fromkeys(change.field for change in plan.waiting))
        return Phase.WAITING_FOR_RESTART, f"at next start: {names}"
    if plan.unlisted:
        names = ", ".join(change.field for change in plan.unlisted)
        return Phase.CONVERGED, f"as its manifest wants it; attached by hand: {names}"
    return Phase.CONVERGED, "as its manifest wants it"
