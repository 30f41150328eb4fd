"""The calls that have not come back: who is stuck, and how many there may be."""

from __future__ import annotations

import threading

import pytest

from reconvirt.hypervisor.errors import Busy
from reconvirt.hypervisor.in_flight import InFlight

LONG = 30.0
HERE, THERE = "qemu:///system", "qemu+ssh://zhost2/system"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_call_is_stuck_when_it_takes_too_long() -> None:
    clock = Clock()
    calls = InFlight(clock=clock)
    with calls.call(HERE, "observe", "web1"):
        clock.now += 4
        assert () == calls.older_than(5)
        clock.now += 2
        (stuck,) = calls.older_than(5)
        assert (HERE, "observe", "web1") == (stuck.uri, stuck.what, stuck.subject)
        assert threading.get_ident() == stuck.thread
        assert 6 == calls.age(stuck)
    assert () == calls.older_than(-1)
    assert calls.wait_until_none(0)


def test_no_more_than_so_many_are_on_their_way_to_one_libvirt() -> None:
    calls, free = InFlight(most=2, patience=0.05), threading.Event()
    inside = threading.Barrier(3, timeout=LONG)

    def hang() -> None:
        with calls.call(HERE, "observe"):
            inside.wait()
            free.wait(LONG)

    threads = [threading.Thread(target=hang) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait()
    with (
        pytest.raises(Busy, match="2 calls to libvirt at qemu:///system have not come back"),
        calls.call(HERE, "observe"),
    ):
        pytest.fail("it was let in")
    with calls.call(THERE, "observe"):
        pass
    with calls.call(HERE, "close", bounded=False):
        pass
    assert not calls.wait_until_none(0)
    free.set()
    for thread in threads:
        thread.join(LONG)
    assert calls.wait_until_none(LONG)


def test_a_call_inside_another_one_of_the_same_thread_is_no_further_one() -> None:
    calls = InFlight(most=1, patience=0.01)
    with calls.call(HERE, "observe"), calls.call(HERE, "XMLDesc"):
        pass
