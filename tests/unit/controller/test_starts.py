"""Starting in order, and not again and again what ends at once."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

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

    def test_two_places_that_become_free_at_once_are_two_turns(self) -> None:
        """Before the first one has come, the second is woken, too."""
        woken: list[str] = []
        gate = StartGate(2, woken.append)
        assert [True, True, False, False] == [gate.enter(name, 0) for name in "abcd"]

        gate.leave("a")
        gate.leave("b")

        assert {"c", "d"} == set(woken)

    def test_one_that_comes_with_a_lower_priority_lets_another_go_first(self) -> None:
        """That one does not come by itself."""
        woken: list[str] = []
        gate = StartGate(1, woken.append)
        gate.enter("a", 0)
        gate.enter("b", 9)
        gate.enter("c", 5)
        gate.leave("a")
        assert ["b"] == woken

        assert not gate.enter("b", 1)

        assert ["b", "c"] == woken


GATED = st.sampled_from("abcdef")


class GateModel(RuleBasedStateMachine):
    """Never more at once than allowed, and no free place that nobody comes for."""

    MOST = 2

    def __init__(self) -> None:
        super().__init__()
        self.due: set[str] = set()
        self.gate = StartGate(self.MOST, self.due.add)
        self.starting: set[str] = set()
        self.waiting: dict[str, int] = {}

    @rule(name=GATED, priority=st.integers(0, 2))
    def enter(self, name: str, priority: int) -> None:
        """It comes by itself, or since it was woken."""
        if name in self.starting:
            return
        self.due.discard(name)
        if self.gate.enter(name, priority):
            self.starting.add(name)
            self.waiting.pop(name, None)
        else:
            self.waiting[name] = priority

    @rule(name=GATED)
    def leave(self, name: str) -> None:
        if name in self.starting:
            self.starting.remove(name)
            self.gate.leave(name)

    @rule(name=GATED)
    def forget(self, name: str) -> None:
        """It does not want to start any more, whether it was woken or not."""
        if name not in self.starting:
            self.due.discard(name)
            self.waiting.pop(name, None)
            self.gate.forget(name)

    @invariant()
    def there_are_not_too_many(self) -> None:
        assert len(self.starting) <= self.MOST
        assert self.gate._starting == self.starting
        assert self.gate._waiting == self.waiting

    @invariant()
    def those_whose_turn_it_is_are_coming(self) -> None:
        free = self.MOST - len(self.starting)
        turns = sorted(self.waiting, key=self.waiting.__getitem__, reverse=True)[:free]
        assert {self.waiting[each] for each in turns} <= {
            self.waiting[each] for each in self.due if each in self.waiting
        }
        assert len(turns) <= len(self.due & self.waiting.keys())


TestGateModel = GateModel.TestCase
TestGateModel.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
