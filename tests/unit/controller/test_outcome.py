"""What a look at one virtual server came to, in one phase and one sentence."""

from __future__ import annotations

import pytest

from reconvirt.controller.outcome import Phase, settle
from reconvirt.domain.actions import Detach, Start
from reconvirt.domain.changes import Change, Plan, Step
from reconvirt.domain.effects import Effect


def change(field: str, effect: Effect = Effect.NEXT_START, reason: str = "why") -> Change:
    return Change(field, 1, 2, effect, reason)


WAITS, REFUSED = change("memory.size"), change("os.arch", Effect.REFUSED, "it cannot")
ASKED = Step(Detach("a"), (change("devices.disks[vdb]", Effect.GUEST),))
FOREIGN = change("devices.disks[vdz]", Effect.REFUSED)

MOVED = Change("devices.disks[vda].source", "/b", "/a", Effect.REFUSED, "why")


@pytest.mark.parametrize(
    ("plan", "complaint", "phase", "message"),
    [
        (Plan("a"), "", Phase.CONVERGED, "as its manifest wants it"),
        (
            Plan("a", unlisted=(FOREIGN,)),
            "",
            Phase.CONVERGED,
            "as its manifest wants it; attached by hand: devices.disks[vdz]",
        ),
        (
            Plan("a", waiting=(WAITS, WAITS, change("vcpu.maximum"))),
            "",
            Phase.WAITING_FOR_RESTART,
            "at next start: memory.size, vcpu.maximum",
        ),
        (
            Plan("a", steps=(ASKED,), waiting=(WAITS,)),
            "",
            Phase.WAITING_FOR_GUEST,
            "the guest has been asked: devices.disks[vdb]",
        ),
        (
            Plan("a", waiting=(change("vcpu.current", Effect.GUEST),)),
            "",
            Phase.WAITING,
            "vcpu.current: why",
        ),
        (Plan("a", steps=(ASKED,)), "it is silent", Phase.NO_ANSWER, "it is silent"),
        (
            Plan("a", waiting=(WAITS,), drifted=(WAITS,), diverged=(MOVED,)),
            "",
            Phase.DIVERGED,
            "devices.disks[vda].source: at /b: why",
        ),
        (Plan("a", overlays=(MOVED,)), "", Phase.CONVERGED, "as its manifest wants it"),
        (
            Plan("a", steps=(ASKED,), waiting=(WAITS,), refused=(REFUSED,)),
            "it is silent",
            Phase.REFUSED,
            "os.arch: it cannot",
        ),
    ],
)
def test_the_worst_is_told_first(plan: Plan, complaint: str, phase: Phase, message: str) -> None:
    """Refused before silent, silent before asked, asked before waiting."""
    assert (phase, message) == settle(plan, complaint)


@pytest.mark.parametrize(
    ("plan", "empty"),
    [
        (Plan("a"), True),
        (Plan("a", unlisted=(FOREIGN,)), True),
        (Plan("a", overlays=(MOVED,)), True),
        (Plan("a", diverged=(MOVED,)), False),
        (Plan("a", waiting=(WAITS,)), False),
        (Plan("a", refused=(REFUSED,)), False),
        (Plan("a", steps=(Step(Start(), ()),)), False),
    ],
)
def test_an_empty_plan_has_nothing_to_do_or_to_wait_for(plan: Plan, empty: bool) -> None:
    """Devices that were attached by hand are only told of."""
    assert empty is plan.empty
