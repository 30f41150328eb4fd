"""How values look on the page."""

from __future__ import annotations

import pytest

from reconvirt.api.view import age, breakable, phase_tone, summary_of
from reconvirt.controller.outcome import Phase
from reconvirt.controller.status import Status


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


def test_the_summary_counts_what_is_there() -> None:
    """And those that are as wanted in any case."""
    failed = [Status("a", phase=Phase.FAILED), Status("b", phase=Phase.STALLED)]

    assert [("good", 0), ("bad", 2)] == [(each.tone, each.number) for each in summary_of(failed)]
