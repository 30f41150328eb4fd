"""What apply tells of a virtual server that the engine looked at more than once."""

from __future__ import annotations

from reconvirt.cli.apply import _together
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.domain.actions import Record, Start
from reconvirt.domain.changes import Plan, Step

RECORD, START = (Step(action, ()) for action in (Record("<mark/>", live=False), Start()))


def outcome(phase: Phase, *steps: Step) -> Outcome:
    """One look."""
    return Outcome("vs", phase, f"it {phase}", Plan("vs"), steps)


def test_the_steps_of_all_looks_count() -> None:
    """The last look tells how it ended."""
    first, last = outcome(Phase.WAITING_FOR_GUEST, RECORD), outcome(Phase.CONVERGED, START)

    assert outcome(Phase.CONVERGED, RECORD, START) == _together(first, last)
    assert first == _together(None, first)


def test_a_look_that_is_cut_short_does_not_hide_a_failure() -> None:
    """What libvirt said stays, though the engine began to try again before it ended."""
    failed, cut = outcome(Phase.FAILED, RECORD), outcome(Phase.DIFFERS, START)

    assert outcome(Phase.FAILED, RECORD, START) == _together(failed, cut)
