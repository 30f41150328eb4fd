"""What the options of a migration come to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconvirt.domain.migration_policy import MigrationPolicy

GIB = 2**30
LIMITS = st.integers(1, 2_000_000)
SECONDS = st.floats(0, 1e6)
MEMORY = st.integers(1 << 20, 1 << 44)
TIMEOUTS = st.integers(0, 604_800)


@given(LIMITS, SECONDS, SECONDS, MEMORY, TIMEOUTS)
def test_the_downtime_never_falls(
    limit: int, one: float, other: float, memory: int, timeout: int
) -> None:
    """It is at least a millisecond, and never more than the limit."""
    policy = MigrationPolicy(max_downtime=limit, timeout=timeout)
    before, after = (policy.downtime_at(each, memory) for each in sorted((one, other)))

    assert 1 <= before <= after <= limit


@given(LIMITS, MEMORY, TIMEOUTS)
def test_the_downtime_begins_small_and_ends_at_its_limit(
    limit: int, memory: int, timeout: int
) -> None:
    """In time for the timeout, if there is one."""
    policy = MigrationPolicy(max_downtime=limit, timeout=timeout)
    end = timeout / 2 if timeout else 5 * max(2.0, 10 * memory / GIB)

    assert policy.downtime_at(0, memory) == max(1, limit // 32)
    assert policy.downtime_at(end * 1.001, memory) == limit


@given(LIMITS, SECONDS, MEMORY, MEMORY)
def test_much_memory_has_it_rise_slowly(limit: int, elapsed: float, one: int, other: int) -> None:
    """Each limit gets the time in which all memory is sent once."""
    policy = MigrationPolicy(max_downtime=limit)
    little, much = (policy.downtime_at(elapsed, each) for each in sorted((one, other)))

    assert much <= little


def test_the_steps_of_one_gibibyte() -> None:
    """Ten seconds each, twice as much each time."""
    policy = MigrationPolicy(max_downtime=320)

    told = [policy.downtime_at(seconds, GIB) for seconds in (0, 9.9, 10, 20, 30, 40, 50, 1000)]

    assert told == [10, 10, 20, 40, 80, 160, 320, 320]


@given(SECONDS, MEMORY)
def test_qemus_own_downtime_stays(elapsed: float, memory: int) -> None:
    """Where none is stated."""
    assert MigrationPolicy().downtime_at(elapsed, memory) == 0
