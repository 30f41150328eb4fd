"""Calls with a time limit: who gets an answer, who is left behind, and what becomes of that."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from reconvirt.hypervisor.bounded_calls import BoundedCaller, BoundedCalls, check_awaited
from reconvirt.hypervisor.errors import NoAnswer, OperationFailed
from testbed.waiting import wait_until

AT_ONCE = 0.05
LONG = 30.0


@dataclass
class Connection:
    """What a call is made over."""

    closed: threading.Event = field(default_factory=threading.Event)

    def close(self) -> None:
        self.closed.set()


@dataclass
class Maker:
    made: list[Connection] = field(default_factory=list)

    def __call__(self) -> Connection:
        self.made.append(Connection())
        return self.made[-1]


def test_an_answer_in_time_is_returned_and_an_error_raised() -> None:
    calls = BoundedCalls()

    def fail() -> None:
        raise OperationFailed("disk full")

    assert 3 == calls.run(lambda: 3, LONG)
    with pytest.raises(OperationFailed, match="disk full"):
        calls.run(fail, LONG)
    assert 0 == calls.stuck


def test_one_that_comes_back_late_is_cleared_up_and_no_longer_counted() -> None:
    calls, free, late = BoundedCalls(), threading.Event(), threading.Event()

    with pytest.raises(NoAnswer, match=r"^web1: no answer in 0\.05 s$"):
        calls.run(lambda: free.wait(LONG), AT_ONCE, late=lambda _: late.set(), what="web1")

    assert 1 == calls.stuck
    free.set()
    assert late.wait(LONG)
    wait_until(lambda: calls.stuck == 0, LONG, "it to come back")


def test_only_so_many_of_a_key_are_left_behind() -> None:
    calls, free = BoundedCalls(most_stuck=2), threading.Event()
    for _ in range(2):
        with pytest.raises(NoAnswer):
            calls.run(free.wait, AT_ONCE, key="a")

    with pytest.raises(NoAnswer, match="2 earlier calls have not come back"):
        calls.run(free.wait, AT_ONCE, key="a")

    assert calls.run(lambda: True, LONG, key="b"), "another key is not held up"
    free.set()


def test_one_that_was_left_behind_makes_no_further_call() -> None:
    calls, free, ended = BoundedCalls(), threading.Event(), threading.Event()
    refused: list[bool] = []

    def work() -> None:
        check_awaited()
        free.wait(LONG)
        try:
            check_awaited()
        except NoAnswer:
            refused.append(True)
        ended.set()

    with pytest.raises(NoAnswer):
        calls.run(work, AT_ONCE)
    free.set()
    assert ended.wait(LONG)
    assert [True] == refused


def test_a_connection_is_kept_until_a_call_fails() -> None:
    maker = Maker()
    caller = BoundedCaller(maker)

    def fail(_connection: Connection) -> None:
        raise OperationFailed("disk full")

    first = caller.run(lambda connection: connection, LONG)
    assert first is caller.run(lambda connection: connection, LONG)
    with pytest.raises(OperationFailed):
        caller.run(fail, LONG)
    assert first.closed.is_set()
    second = caller.run(lambda connection: connection, LONG)
    assert second is not first
    caller.close()
    assert second.closed.is_set()


def test_a_connection_that_is_not_awaited_any_more_is_closed_when_its_call_comes_back() -> None:
    maker, free = Maker(), threading.Event()
    caller = BoundedCaller(maker, most_stuck=1)

    with pytest.raises(NoAnswer, match=r"no answer in 0\.05 s"):
        caller.run(lambda _: free.wait(LONG), AT_ONCE)
    with pytest.raises(NoAnswer, match="1 earlier call"):
        caller.run(lambda _: None, LONG)
    assert not maker.made[0].closed.is_set()

    free.set()
    assert maker.made[0].closed.wait(LONG)
    wait_until(lambda: caller.stuck == 0, LONG, "it to come back")
    assert caller.run(lambda _: True, LONG)


def test_two_at_a_time_have_a_connection_each() -> None:
    maker, inside, free = Maker(), threading.Barrier(3, timeout=LONG), threading.Event()
    caller = BoundedCaller(maker)

    def work(connection: Connection) -> Connection:
        inside.wait()
        free.wait(LONG)
        return connection

    threads = [threading.Thread(target=caller.run, args=(work, LONG)) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait()
    free.set()
    for thread in threads:
        thread.join(LONG)
    assert 2 == len(maker.made)
