"""How what the daemon answers is shown in a terminal."""

from __future__ import annotations

from datetime import datetime

from reconvirt.cli.statuses import event_text

EVENT = {
    "time": "2026-01-01T12:00:00+00:00",
    "message": "no such file",
    "field": "state",
    "old": "shut off",
    "new": "running",
}


def test_an_event_has_its_values() -> None:
    assert "no such file: state shut off → running" == event_text(EVENT)


def test_one_that_happened_again_has_its_count() -> None:
    """Since its first time, in local time."""
    first = "2026-01-01T10:30:00+00:00"
    local = datetime.fromisoformat(first).astimezone().strftime("%Y-%m-%d %H:%M:%S")

    told = event_text(EVENT | {"count": 4, "first_time": first})

    assert f"no such file: state shut off → running (4 times since {local})" == told
    assert event_text(EVENT) == event_text(EVENT | {"count": 1, "first_time": first})
