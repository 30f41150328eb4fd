"""Starting in order, and not again and again what ends at once."""

from __future__ import annotations

import pytest

from reconvirt.controller.starts import StartGate, StartRecord


class TestRecord:
    @pytest.mark.parametrize(
        ("failures", "seconds"), [(1, 10), (2, 40), (3, 90), (4, 160), (5, 250), (6, 300), (9, 300)]
    )
    def test_each_quick_end_makes_the_wait_longer(self, failures: int, seconds: int) -> None:
        """10·n² seconds, at most 300."""
        record, now = StartRecord(), 0.0
        for _ in range(failures):
            record.started(now)
            now += 1
            record.seen(now, runs=False)

        assert seconds == record.not_before - now

    def test_one_that_has_run_for_a_while_begins_anew(self) -> None:
        """A minute is enough to tell that the start was good."""
        record = StartRecord()
        record.started(0)
        record.seen(1, runs=False)
        record.started(20)
        record.seen(81, runs=True)
        record.seen(82, runs=False)

        assert (0, "") == (record.failures, record.why_not_yet(82))

    def test_what_we_end_ourselves_is_no_failure(self) -> None:
        """A restart for a new configuration says nothing against it."""
        record = StartRecord()
        record.started(0)
        record.ended_by_us()
        record.seen(2, runs=False)

        assert "" == record.why_not_yet(2)

    def test_what_somebody_has_ended_is_no_failure(self) -> None:
        """It is started again at once."""
        record = StartRecord()
        record.started(0)
        record.seen(1, runs=False, by_itself=False)

        assert "" == record.why_not_yet(1)

    def test_the_wait_is_told(self) -> None:
        """How often it has ended, and how long it takes; in the same words until it is over."""
        record = StartRecord()
        record.started(0)
        record.seen(1, runs=False)

        expected = "it has ended once soon after its start; it is started again 10 s later"
        assert [expected, expected, ""] == [record.why_not_yet(now) for now in (2, 10.9, 11)]


class TestGate:
    def test_the_next_one_is_woken_by_priority(self) -> None:
        """One at a time; whoever waits with the highest priority is told that it is free."""
        woken: list[str] = []
        gate = StartGate(1, woken.append)

        assert gate.enter("a", 0)
        assert not gate.enter("b", 1)
        assert not gate.enter("c", 5)
        gate.leave("a")
        assert ["c"] == woken
        assert not gate.enter("b", 1)
        assert gate.enter("c", 5)
        gate.leave("c")
        assert gate.enter("b", 1)

    def test_one_that_does_not_want_any_more_keeps_nobody_waiting(self) -> None:
        """Its manifest is gone: the others go on."""
        gate = StartGate(1)
        gate.enter("a", 0)
        gate.enter("b", 9)
        gate.forget("b")
        gate.leave("a")

        assert gate.enter("c", 0)

    def test_the_next_one_is_told_when_the_one_whose_turn_it_is_does_not_want_to(self) -> None:
        """Nobody else would tell it; who did not wait tells nobody."""
        woken: list[str] = []
        gate = StartGate(1, woken.append)
        gate.enter("a", 0)
        gate.enter("b", 9)
        gate.enter("c", 1)
        gate.leave("a")

        gate.forget("b")
        gate.forget("d")

        assert ["b", "c"] == woken
        assert gate.enter("c", 1)
