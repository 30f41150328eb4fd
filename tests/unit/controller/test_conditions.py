"""Conditions exist while they are true, and keep their beginning."""

from __future__ import annotations

import pytest

from reconvirt.controller.conditions import Kind, conditions_of
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.domain.changes import Change, Plan
from reconvirt.domain.effects import Effect
from reconvirt.domain.observed import Observed, State

WAITS = Change("memory.size", "1 GiB", "2 GiB", Effect.NEXT_START, "why")


def outcome(phase: Phase, plan: Plan | None = None, **more: object) -> Outcome:
    return Outcome("web1", phase, "words", plan or Plan("web1"), **more)  # type: ignore[arg-type]


def kinds(of: Outcome) -> dict[str, bool]:
    return {str(kind): each.status for kind, each in conditions_of(of, {}, 1.0).items()}


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (Phase.CONVERGED, {"Ready": True}),
        (Phase.WAITING_FOR_GUEST, {"Ready": False, "Reconciling": True}),
        (Phase.REFUSED, {"Ready": False, "Stalled": True}),
        (Phase.NO_ANSWER, {"Ready": False, "Stalled": True}),
        (Phase.STALLED, {"Ready": False, "Stalled": True}),
        (Phase.FAILED, {"Ready": False, "Stalled": True}),
        (Phase.UNMANAGED, {"Ready": False, "Orphaned": True}),
    ],
)
def test_each_phase_has_its_conditions(phase: Phase, expected: dict[str, bool]) -> None:
    """Ready always; the abnormal ones only while they are true."""
    assert expected == kinds(outcome(phase))


def test_a_failure_that_is_tried_again_is_not_stalled() -> None:
    """It is still being worked on."""
    assert {"Ready": False, "Reconciling": True} == kinds(outcome(Phase.FAILED, retry=True))


def test_what_waits_for_a_restart_is_told_exactly() -> None:
    """Each field with old and new value; it is ready all the same."""
    waiting = outcome(Phase.WAITING_FOR_RESTART, Plan("web1", waiting=(WAITS,)))
    found = conditions_of(waiting, {}, 1.0)

    assert "memory.size: 1 GiB → 2 GiB" == found[Kind.RESTART_REQUIRED].message
    assert found[Kind.READY].status


def test_drift_hold_pause_and_migration_are_conditions_of_their_own() -> None:
    """Several can be true at once."""
    paused = Observed("web1", "u", 1, State.PAUSED, "user", "<domain/>", "<domain/>")
    held = outcome(Phase.HELD, Plan("web1", drifted=(WAITS,)), hold="why (anna)", observed=paused)

    assert {"Ready": False, "Drifted": True, "Held": True, "Paused": True} == kinds(held)


def test_a_condition_that_stays_keeps_its_beginning() -> None:
    """And one that turns begins anew."""
    before = conditions_of(outcome(Phase.CONVERGED), {}, 1.0)
    same = conditions_of(outcome(Phase.CONVERGED), before, 2.0)
    other = conditions_of(outcome(Phase.REFUSED), same, 3.0)

    assert 1.0 == same[Kind.READY].since
    assert 3.0 == other[Kind.READY].since


def test_a_disk_that_was_moved_is_told_with_both_paths() -> None:
    """An overlay of the stated image is told as well, and is ready."""
    change = Change("devices.disks[vda].source", "/b", "/a", Effect.REFUSED, "a person moved it")
    moved = outcome(Phase.DIVERGED, Plan("web1", diverged=(change,)))
    overlay = outcome(Phase.CONVERGED, Plan("web1", overlays=(change,)))

    told = conditions_of(moved, {}, 1.0)[Kind.DIVERGED]

    assert {"Ready": False, "Diverged": True} == kinds(moved)
    assert {"Ready": True, "Overlay": True} == kinds(overlay)
    assert "SourceMoved" == told.reason
    assert told.message == (
        "devices.disks[vda].source: at /b, its manifest states /a: a person moved it"
    )
