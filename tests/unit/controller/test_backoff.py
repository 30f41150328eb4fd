"""How long is waited after a failure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconvirt.controller.backoff import Backoff


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_a_wait_stays_within_its_bounds(failures: int, chance: float) -> None:
    """After any number of failures."""
    wait = Backoff(chance=lambda: chance).delay(failures)

    assert 0.9 <= wait <= 900 * 1.1


@given(st.integers(1, 100))
def test_a_wait_is_never_shorter_than_the_one_before(failures: int) -> None:
    """Chance aside."""
    backoff = Backoff(jitter=0.0)

    assert backoff.delay(failures) <= backoff.delay(failures + 1)
