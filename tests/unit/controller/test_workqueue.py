"""The rules of the work queue, one by one, under any sequence of calls, and with threads."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reconvirt.controller.backoff import Backoff
from reconvirt.controller.workqueue import Closed, Priority, WorkQueue


class Clock:
    """Seconds that go on when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock, Backoff(jitter=0.0))


def take(queue: WorkQueue[str]) -> str | None:
    """The next key, if there is one now."""
    return queue.get(timeout=0)


def test_a_key_waits_once(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.add("a")

    assert ["a", None] == [take(queue), take(queue)]


def test_a_key_added_while_it_is_worked_on_waits_until_that_is_done(queue: WorkQueue[str]) -> None:
    queue.add("a")
    take(queue)
    queue.add("a")

    before = take(queue)
    queue.done("a")

    assert (None, "a") == (before, take(queue))


def test_changes_go_before_resyncs(queue: WorkQueue[str]) -> None:
    queue.add("a", Priority.RESYNC)
    queue.add("b", Priority.CHANGE)
    queue.add("c", Priority.RESYNC)
    queue.add("c", Priority.CHANGE)

    assert ["b", "c", "a", None] == [take(queue) for _ in range(4)]


def test_a_delayed_key_comes_when_it_is_due(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 5.0)
    early = take(queue)
    clock.now = 5.0

    assert (None, "a", None) == (early, take(queue), take(queue))


def test_of_two_delays_the_shorter_counts(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 5.0)
    queue.add_after("a", 2.0)
    queue.add_after("a", 9.0)
    clock.now = 2.0
    first = take(queue)
    queue.done("a")
    clock.now = 100.0

    assert ("a", None) == (first, take(queue))


def test_an_add_now_makes_up_for_one_that_was_to_come(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 5.0)
    queue.add("a")
    take(queue)
    queue.done("a")
    clock.now = 100.0

    assert take(queue) is None


def test_a_resync_that_is_put_off_again_and_again_leaves_nothing_behind(
    queue: WorkQueue[str], clock: Clock
) -> None:
    names = [f"vs{number}" for number in range(100)]
    for second in range(100):
        clock.now = float(second)
        for name in names:
            queue.add(name, Priority.RESYNC)
            queue.add(name, Priority.CHANGE)
            key = take(queue)
            assert key is not None
            queue.add_after(key, 86400.0)
            queue.done(key)

    assert 300 > queue._later.size
    assert 20 > queue._ready.size
    clock.now += 2 * 86400.0
    assert names == [take(queue) for _ in names]
    assert take(queue) is None


def test_a_key_that_was_raised_and_taken_does_not_jump_the_queue_afterwards(
    queue: WorkQueue[str],
) -> None:
    queue.add("a", Priority.RESYNC)
    queue.add("a", Priority.CHANGE)
    take(queue)
    queue.done("a")
    queue.add("b", Priority.RESYNC)
    queue.add("a", Priority.RESYNC)

    assert ["b", "a"] == [take(queue), take(queue)]


def test_failures_wait_longer_each_time_until_forgotten(queue: WorkQueue[str]) -> None:
    delays = [queue.add_rate_limited("a") for _ in range(12)]
    queue.forget("a")

    assert [1.0, 2.0, 4.0, 8.0] == delays[:4]
    assert 900.0 == delays[-1]
    assert 0 == queue.failures("a")
    assert 1.0 == queue.add_rate_limited("a")


def test_forgetting_takes_nothing_out(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.forget("a")

    assert "a" == take(queue)


def test_a_closed_queue_hands_out_nothing(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.close()
    queue.add("b")

    with pytest.raises(Closed):
        queue.get()


def test_closing_wakes_who_waits() -> None:
    queue: WorkQueue[str] = WorkQueue()
    ended = threading.Event()

    def work() -> None:
        with pytest.raises(Closed):
            queue.get()
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    queue.close()
    thread.join(5.0)

    assert ended.is_set()


def test_the_longest_work_in_hand_is_known(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    take(queue)
    clock.now = 7.0

    assert 7.0 == queue.longest_running()
    queue.done("a")
    assert 0.0 == queue.longest_running()


def test_with_threads_no_key_is_worked_on_twice_at_once_and_none_is_lost() -> None:
    queue: WorkQueue[int] = WorkQueue()
    lock, working, seen = threading.Lock(), Counter[int](), Counter[int]()
    together: list[int] = []

    def work() -> None:
        while True:
            try:
                key = queue.get()
            except Closed:
                return
            assert key is not None
            with lock:
                working[key] += 1
                if working[key] > 1:
                    together.append(key)
            time.sleep(0.0005)
            with lock:
                working[key] -= 1
                seen[key] += 1
            queue.done(key)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(2000):
        (queue.add if number % 3 else lambda key: queue.add_after(key, 0.001))(number % 7)
    deadline = time.monotonic() + 10.0
    while (queue.depth() or queue.longest_running()) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    queue.close()
    for thread in threads:
        thread.join()

    assert [] == together
    assert set(range(7)) == set(seen)


KEYS = st.sampled_from("abc")


class Model(RuleBasedStateMachine):
    """The queue against the plainest thing that keeps its rules."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue: WorkQueue[str] = WorkQueue(self.clock, Backoff(jitter=0.0))
        self.waiting: dict[str, Priority] = {}
        self.due: dict[str, tuple[float, Priority]] = {}
        self.working: set[str] = set()
        self.again: dict[str, Priority] = {}

    def put(self, key: str, priority: Priority) -> None:
        self.due.pop(key, None)
        where = self.again if key in self.working else self.waiting
        where[key] = max(priority, where.get(key, priority))

    @rule(key=KEYS, priority=st.sampled_from(Priority))
    def add(self, key: str, priority: Priority) -> None:
        self.queue.add(key, priority)
        self.put(key, priority)

    @rule(key=KEYS, delay=st.integers(0, 9), priority=st.sampled_from(Priority))
    def add_after(self, key: str, delay: int, priority: Priority) -> None:
        self.queue.add_after(key, float(delay), priority)
        due = self.clock.now + delay
        if key in self.due:
            before = self.due[key]
            due, priority = min(due, before[0]), max(priority, before[1])
        self.due[key] = (due, priority)

    @rule(seconds=st.integers(0, 5))
    def go_on(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def get(self) -> None:
        for key, (due, priority) in sorted(self.due.items(), key=lambda item: item[1][0]):
            if due <= self.clock.now:
                self.put(key, priority)

        key = take(self.queue)

        if key is None:
            assert not self.waiting
        else:
            assert self.waiting[key] == max(self.waiting.values())
            del self.waiting[key]
            assert key not in self.working
            self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.queue.done(key)
        self.working.remove(key)
        if key in self.again:
            self.put(key, self.again.pop(key))

    @invariant()
    def what_waits_is_counted(self) -> None:
        assert len(self.waiting) == self.queue.depth()

    @invariant()
    def the_heaps_are_bounded_by_the_keys(self) -> None:
        assert self.queue._ready.size <= 2 * len(self.waiting) + 16
        # Keys that have become due are moved by the next call of get.
        assert self.queue._later.size <= 2 * len(self.due) + 16


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
