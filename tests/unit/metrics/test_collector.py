"""The collector: what stays fresh, what is carried over, what is read again, what hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from reconvirt.domain.observed import State
from reconvirt.hypervisor.errors import HypervisorDown, VirtualServerGone
from reconvirt.hypervisor.stats import Description, Reading
from reconvirt.metrics.collector import Collector
from testbed.waiting import wait_until

QUICK = 0.2  # seconds after which a call is taken for hung


def reading(name: str = "a", **values: Any) -> Reading:
    number = values.pop("domain_id", 1)
    state = State.RUNNING if number else State.SHUTOFF
    reason = values.pop("reason", "booted")
    stated = {key.replace("__", "."): value for key, value in values.items()}
    return Reading(name, f"uuid-{name}", number, state, reason, stated)


@dataclass
class Host:
    """A libvirt of values: what it answers, and whether it answers at all."""

    readings: list[Reading] = field(default_factory=list)
    hang: threading.Event | None = None
    error: Exception | None = None
    connections: int = 0
    calls: list[str] = field(default_factory=list)

    def connect(self) -> Host:
        self.connections += 1
        return self

    def close(self) -> None:
        self.calls.append("close")

    def describe(self, uuid: str) -> Description:
        self.calls.append(uuid)
        if not any(each.uuid == uuid for each in self.readings):
            raise VirtualServerGone(uuid)
        xml = "<domain type='kvm'><vcpu>1</vcpu></domain>"
        return Description(xml, None, True, False, False, {}, {})

    def job(self, uuid: str) -> dict[str, Any]:
        return {"type": 2, "operation": 8, "data_total": 5} if uuid == "uuid-dump" else {}

    def described(self) -> list[str]:
        found = [each for each in self.calls if each != "close"]
        self.calls.clear()
        return found


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()

    def read_all(this: Host) -> list[Reading]:
        if this.hang is not None:
            hang, this.hang = this.hang, None
            hang.wait()
        if this.error is not None:
            error, this.error = this.error, None
            raise error
        return this.readings

    monkeypatch.setattr("reconvirt.hypervisor.stats.StatisticsConnection.read_all", read_all)
    return host


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def results() -> list[str]:
    return []


@pytest.fixture
def collector(host: Host, clock: Clock, results: list[str]) -> Iterator[Collector]:
    made = Collector(
        host.connect,  # type: ignore[arg-type]
        timeout=QUICK,
        refresh=60.0,
        clock=clock,
        on_collected=lambda result, _seconds: results.append(result),
    )
    yield made
    made._caller.close()


def test_before_the_first_there_is_nothing(collector: Collector) -> None:
    assert None is collector.snapshot
    assert None is collector.age


def test_a_collection(collector: Collector, host: Host, clock: Clock) -> None:
    host.readings = [reading("a", balloon__rss=1), reading("b", domain_id=None)]
    assert collector.collect()
    clock.now += 7
    assert 7 == collector.age
    assert ["a", "b"] == [each.reading.name for each in collector.snapshot.servers]
    assert all(each.facts and each.facts.type == "kvm" for each in collector.snapshot.servers)
    assert 1 == host.connections


def test_what_qemu_cannot_be_asked_for_is_carried_over(
    collector: Collector, host: Host, clock: Clock
) -> None:
    disk = {"block__count": 1, "block__0__name": "vda"}
    host.readings = [reading(balloon__rss=9, cpu__time=1, **disk, block__0__rd__reqs=5)]
    collector.collect()
    clock.now += 10
    host.readings = [reading(cpu__time=2, **disk)]
    collector.collect()
    (server,) = collector.snapshot.servers
    assert 100.0 == server.asked_at
    values = server.reading.values
    assert (9, 2, 5) == (values["balloon.rss"], values["cpu.time"], values["block.0.rd.reqs"])

    host.readings = [reading(cpu__time=3, block__count=1, block__0__name="vdb")]
    collector.collect()
    (server,) = collector.snapshot.servers
    assert "block.0.rd.reqs" not in server.reading.values, "of another disk"

    host.readings = [reading(cpu__time=3, domain_id=2)]
    collector.collect()
    (server,) = collector.snapshot.servers
    assert None is server.asked_at, "another start"
    assert "balloon.rss" not in server.reading.values


def test_who_is_gone_leaves_nothing(collector: Collector, host: Host) -> None:
    host.readings = [reading("a"), reading("b")]
    collector.collect()
    host.readings = [reading("b")]
    collector.collect()
    assert ["b"] == [each.reading.name for each in collector.snapshot.servers]
    assert {"uuid-b"} == collector._known.keys()


def test_xml_is_read_when_something_has_changed(
    collector: Collector, host: Host, clock: Clock
) -> None:
    host.readings = [reading("a", balloon__rss=1), reading("b", balloon__rss=1)]
    collector.collect()
    assert ["uuid-a", "uuid-b"] == host.described()
    collector.collect()
    assert [] == host.described()
    collector.heard("b")
    collector.collect()
    assert ["uuid-b"] == host.described()
    host.readings = [reading("a", balloon__rss=1, vcpu__current=2), host.readings[1]]
    collector.collect()
    assert ["uuid-a"] == host.described()
    host.readings = [host.readings[0], reading("b", domain_id=7)]
    collector.collect()
    assert ["uuid-b"] == host.described()
    clock.now += 31
    collector.collect()
    collector.collect()
    assert ["uuid-a", "uuid-b"] == sorted(host.described()), "now and then"


def test_a_hung_call_is_left_behind_and_made_again(
    collector: Collector, host: Host, results: list[str]
) -> None:
    hang = host.hang = threading.Event()
    host.readings = [reading("a")]
    assert collector.collect()
    assert ["timeout", "success"] == results
    assert 1 == collector.stuck
    assert 2 == host.connections
    hang.set()
    wait_until(lambda: collector.stuck == 0, 10, "the call to come back")


def test_a_lost_connection_is_made_again(
    collector: Collector, host: Host, results: list[str]
) -> None:
    host.error = HypervisorDown("gone")
    assert collector.collect()
    assert ["error", "success"] == results


def test_a_failure_leaves_the_last_snapshot(collector: Collector, host: Host) -> None:
    host.readings = [reading("a")]
    collector.collect()
    host.error = VirtualServerGone("odd")
    assert not collector.collect()
    assert ["a"] == [each.reading.name for each in collector.snapshot.servers]


def test_jobs_are_asked_for_where_the_state_tells_of_one(collector: Collector, host: Host) -> None:
    host.readings = [reading("dump", reason="dumping", balloon__rss=1), reading("a")]
    collector.collect()
    assert [5, None] == [each.job.get("data_total") for each in collector.snapshot.servers]
    host.readings = [reading("a")]
    collector.collect()
    assert {} == collector.snapshot.servers[0].job


def test_it_collects_until_it_is_stopped(collector: Collector, host: Host) -> None:
    stop = threading.Event()
    host.readings = [reading("a")]
    collector.interval = 0.0
    thread = threading.Thread(target=collector.run, args=(stop,))
    thread.start()
    while collector.snapshot is None:
        stop.wait(0.01)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
