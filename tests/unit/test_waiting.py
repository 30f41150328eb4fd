"""Limits that a busy machine does not break."""

from __future__ import annotations

import os

import pytest

from testbed.waiting import MOST_PATIENCE, limit, patience


@pytest.mark.parametrize(
    ("load", "cores", "niceness", "expected"),
    [
        (0.1, 2, 0, 1.0),
        (2.0, 2, 0, 1.0),
        (6.0, 2, 0, 3.0),
        (6.0, 8, 0, 1.0),
        (0.5, 2, 19, 2.9),
        (4.0, 2, 5, 3.0),
        (200.0, 2, 19, MOST_PATIENCE),
    ],
)
def test_patience(
    monkeypatch: pytest.MonkeyPatch, load: float, cores: int, niceness: int, expected: float
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr(os, "getpriority", lambda _kind, _who: niceness)

    assert pytest.approx(expected) == patience()
    assert pytest.approx(10 * expected) == limit(10)
