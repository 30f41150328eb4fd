"""The pool of workers: replaced where they are stuck, and not more than that."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from reconvirt.controller.liveness import Pulse
from reconvirt.controller.workers import Workers
from reconvirt.hypervisor.in_flight import InFlight
from reconvirt.hypervisor.supervision import Supervisor
from testbed.waiting import wait_until

LONG = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """Workers that do what a test puts in."""

    def __init__(self, count: int, most_replaced: int) -> None:
        self.tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.clock = Clock()
        self.calls = InFlight(most=100, clock=self.clock)
        self.pulse = Pulse(count)
        self.free = threading.Event()
        self.stuck = 0
        self.workers = Workers(
            self._work,
            count,
            self.pulse,
            most_replaced=most_replaced,
            in_flight=self.calls,
            supervisor=Supervisor(),
        )

    def _work(self) -> bool:
        task = self.tasks.get()
        if task is not None:
            task()
        return task is not None

    def hang(self) -> None:
        with self.calls.call("qemu:///system", "observe", "web1"):
            self.free.wait(LONG)

    def let_hang(self, number: int) -> None:
        for _ in range(number):
            self.tasks.put(self.hang)
        self.stuck += number
        wait_until(
            lambda: len(self.calls.older_than(-1)) == self.stuck, LONG, "the calls to be made"
        )
        self.clock.now += 10

    def is_served(self) -> bool:
        done = threading.Event()
        self.tasks.put(done.set)
        return done.wait(2.0)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(3, most_replaced=4)
    made.workers.start()
    yield made
    made.free.set()
    for _ in range(20):
        made.tasks.put(None)
    assert made.workers.stop()


def test_those_that_are_stuck_are_replaced(bench: Bench) -> None:
    bench.let_hang(3)
    bench.workers.tend()
    assert bench.is_served()
    assert 6 == bench.pulse.workers


def test_only_so_many_are_replaced(bench: Bench) -> None:
    bench.let_hang(3)
    bench.workers.tend()
    bench.let_hang(3)
    bench.workers.tend()
    assert 7 == bench.pulse.workers
    assert bench.is_served()
    bench.let_hang(1)
    bench.workers.tend()
    assert 7 == bench.pulse.workers


def test_there_are_no_more_than_are_wanted_once_they_come_back(bench: Bench) -> None:
    bench.let_hang(3)
    bench.workers.tend()
    bench.free.set()
    wait_until(lambda: not bench.calls.older_than(-1), LONG, "the calls to come back")
    for _ in range(6):
        bench.is_served()
    wait_until(lambda: bench.pulse.workers == 3, LONG, "those that are too many to end")


def test_a_call_that_takes_no_time_replaces_nobody(bench: Bench) -> None:
    assert bench.is_served()
    bench.workers.tend()
    assert 3 == bench.pulse.workers


def test_the_end_does_not_wait_for_a_call_that_hangs() -> None:
    bench = Bench(2, most_replaced=1)
    bench.workers.start()
    bench.let_hang(1)
    bench.clock.now += 100
    bench.tasks.put(None)
    bench.tasks.put(None)
    assert not bench.workers.stop()
    bench.free.set()
