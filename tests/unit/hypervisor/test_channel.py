"""A connection is closed by whoever comes out last; with libvirt's own test driver."""

from __future__ import annotations

import threading

import pytest

from reconvirt.hypervisor import channel as channels
from reconvirt.hypervisor.channel import Channel, open_connection
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorDown, NoAnswer
from reconvirt.hypervisor.pool import Pool
from testbed.waiting import wait_until

LONG = 30.0
URI = "test:///default"


def ended(channel: Channel) -> bool:
    """Whether libvirt has closed it."""
    return channel._connection._o is None


def test_it_is_closed_at_once_when_no_call_is_inside() -> None:
    channel = open_connection(URI)
    with channel.call("list") as connection:
        assert ["test"] == [each.name() for each in connection.listAllDomains()]
    assert channel.alive
    channel.close()
    assert ended(channel)
    assert not channel.alive
    with pytest.raises(HypervisorDown, match="was closed"), channel.call("list"):
        pytest.fail("it was let in")
    channel.close()


def test_it_stays_open_until_the_last_call_has_come_out() -> None:
    channel, inside, leave = open_connection(URI), threading.Barrier(3), threading.Event()
    names: list[str] = []

    def work() -> None:
        with channel.call("list") as connection:
            inside.wait(LONG)
            leave.wait(LONG)
            names.extend(each.name() for each in connection.listAllDomains())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(LONG)
    channel.close()
    assert not ended(channel)
    with pytest.raises(HypervisorDown), channel.call("list"):
        pytest.fail("it was let in")
    leave.set()
    for thread in threads:
        thread.join(LONG)
    assert ["test", "test"] == names
    assert ended(channel)


def test_callbacks_are_taken_back_before_the_end() -> None:
    """They hold the connection: libvirt would go on calling back on one that was closed."""
    hypervisor = Hypervisor(URI)
    hypervisor.watch(lambda *_: None, lambda _: None)
    connection = hypervisor._pool._first._connection
    assert connection.domainEventCallbackID
    hypervisor.close()
    assert not connection.domainEventCallbackID


def test_one_that_does_not_open_in_time_is_closed_when_it_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free, opened = threading.Event(), []
    really = channels.open_raw

    def slow(uri: str) -> object:
        free.wait(LONG)
        opened.append(really(uri))
        return opened[0]

    monkeypatch.setattr(channels, "open_raw", slow)
    with pytest.raises(NoAnswer, match="connecting to libvirt at test:///default: no answer in"):
        open_connection(URI, 0.05)
    free.set()
    wait_until(lambda: opened and opened[0]._o is None, LONG, "it to be closed")


def test_two_calls_at_a_time_have_a_connection_each() -> None:
    pool = Pool(URI)
    with pool.channel() as first:
        with pool.channel() as second:
            assert first is not second
        with pool.channel() as third:
            assert third is second, "it is used again"
    with pool.channel() as inside:
        pool.close()
        assert ended(second if inside is first else first)
    with pytest.raises(HypervisorDown, match="was closed"), pool.channel():
        pytest.fail("it was let in")


def test_a_call_that_hangs_is_left_behind() -> None:
    hypervisor, free = Hypervisor(URI, bound=LONG), threading.Event()
    with pytest.raises(NoAnswer, match="libvirt at test:///default: no answer"):
        hypervisor.within(0.05, lambda: free.wait(LONG))
    assert ["test"] == list(hypervisor.list_all())
    free.set()
    hypervisor.close()
