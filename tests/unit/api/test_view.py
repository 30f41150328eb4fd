"""How values look on the page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconvirt.api.view import age, breakable, condition_badges, moving, phase_tone, summary_of
from reconvirt.controller.conditions import Condition, Kind
from reconvirt.controller.outcome import Phase
from reconvirt.controller.status import Status
from reconvirt.domain.migration import Progress


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.9, "59 s"), (61, "1 min"), (7200, "2 h"), (200_000, "2 d"), (-1, "0 s")],
)
def test_ages(seconds: float, text: str) -> None:
    """In the largest unit; a clock that was set back makes none negative."""
    assert text == age(seconds)


def test_long_values_may_go_on_in_the_next_line() -> None:
    """And are no markup themselves."""
    assert "/<wbr>a.<wbr>b" == breakable("/a.b")
    assert "&lt;b&gt;" == breakable("<b>")
    assert "4" == breakable(4)


def test_every_phase_has_a_tone() -> None:
    assert all(phase_tone(phase) for phase in Phase)


def test_every_condition_has_a_tone() -> None:
    conditions = [Condition(kind, True, "", "", 0.0) for kind in Kind if kind is not Kind.READY]

    assert [str(each.kind) for each in conditions] == [
        badge.word for badge in condition_badges(conditions)
    ]


def test_how_far_a_migration_is_told() -> None:
    """With the time that it will take, where the guest changes less than is sent."""
    half = Progress("copying memory", 4.0, 2**29, 2**29, 2**30, speed=2**27, dirty_rate=2**26)

    assert "copying memory: 512 of 1024 MiB, about 8 s to go" == moving(Status("a", migration=half))
    slow = replace(half, speed=2**20)
    assert "copying memory: 512 of 1024 MiB" == moving(Status("a", migration=slow))
    assert "" == moving(Status("a"))


def test_the_summary_counts_what_is_there() -> None:
    """And those that are as wanted in any case."""
    failed = [Status("a", phase=Phase.FAILED), Status("b", phase=Phase.STALLED)]

    assert [("good", 0), ("bad", 2)] == [(each.tone, each.number) for each in summary_of(failed)]
