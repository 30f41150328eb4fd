"""What the service manager is told, over a real socket."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconvirt.controller.liveness import Beat, Pulse
from reconvirt.controller.notify import Notifier
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.service import Service, State, describe
from reconvirt.domain.changes import Plan

NOTHING_READ = State(False, None, 0, frozenset(), {})


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.settimeout(0.05)

    def heard(self) -> list[str]:
        """All that has come since it was last asked."""
        lines: list[str] = []
        while True:
            try:
                lines += self._socket.recv(4096).decode().splitlines()
            except TimeoutError:
                return lines

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def outcome(name: str, phase: Phase) -> Outcome:
    return Outcome(name, phase, "", Plan(name))


def state(**phases: Phase) -> State:
    outcomes = {name: outcome(name, phase) for name, phase in phases.items()}
    return State(True, "abc1234def/0123", 0, frozenset(phases), outcomes)


class Bench:
    """A service whose surroundings a test changes."""

    def __init__(self, manager: Manager, watchdog: float | None = 40.0) -> None:
        self.state, self.clock, self.age = NOTHING_READ, Clock(), 0.0
        self.service = Service(
            lambda: self.state,
            lambda: {"workers": self.age},
            30.0,
            Notifier(manager.address, watchdog),
            self.clock,
        )


@pytest.fixture
def bench(manager: Manager) -> Bench:
    return Bench(manager)


def test_ready_comes_after_every_virtual_server_was_looked_at(
    manager: Manager, bench: Bench
) -> None:
    """Until then the manager is asked for patience."""
    bench.service.tick()
    assert "EXTEND_TIMEOUT_USEC=30000000" in manager.heard()
    bench.state = replace(state(a=Phase.CONVERGED), wanted=frozenset("ab"))
    bench.clock.now += 5
    bench.service.tick()
    heard = manager.heard()
    assert "EXTEND_TIMEOUT_USEC=30000000" in heard
    assert "READY=1" not in heard

    bench.state = state(a=Phase.CONVERGED, b=Phase.WAITING_FOR_RESTART)
    bench.service.tick()

    told = "STATUS=2 virtual servers, 1 waits for a restart, revision abc1234"
    assert ["READY=1", told] == manager.heard()[:2]
    bench.clock.now += 5
    bench.service.tick()
    assert not [line for line in manager.heard() if "READY" in line or "EXTEND" in line]


def test_no_manifests_are_looked_at_at_once(manager: Manager, bench: Bench) -> None:
    """A host without virtual servers is ready as well, once libvirt answers."""
    bench.state = replace(state(), connected=False)
    bench.service.tick()
    assert "READY=1" not in manager.heard()
    bench.state = state()
    bench.service.tick()
    assert "READY=1" in manager.heard()


def test_one_that_hangs_does_not_hold_up_readiness(manager: Manager, bench: Bench) -> None:
    """After a minute the others count."""
    bench.state = replace(state(a=Phase.CONVERGED), wanted=frozenset("ab"))
    bench.service.tick()
    bench.clock.now += 61
    bench.service.tick()

    assert "READY=1" in manager.heard()


def test_the_watchdog_is_fed_while_all_parts_live(manager: Manager, bench: Bench) -> None:
    """Four times a period."""
    bench.service.tick()
    assert 1 == manager.heard().count("WATCHDOG=1")
    bench.clock.now += 5
    bench.service.tick()
    assert 0 == manager.heard().count("WATCHDOG=1")
    bench.clock.now += 5
    bench.service.tick()
    assert 1 == manager.heard().count("WATCHDOG=1")

    bench.age = 30.0
    bench.clock.now += 20
    bench.service.tick()
    assert 0 == manager.heard().count("WATCHDOG=1")
    bench.age = 0.0
    bench.service.tick()
    assert 1 == manager.heard().count("WATCHDOG=1")


def test_without_a_watchdog_nobody_feeds_it(manager: Manager) -> None:
    """The environment of the unit says whether there is one."""
    bench = Bench(manager, None)
    bench.service.tick()
    assert "WATCHDOG=1" not in manager.heard()


def test_a_reload_is_told_with_its_time(manager: Manager, bench: Bench) -> None:
    """In microseconds of the monotonic clock; READY follows."""
    before = time.monotonic_ns() // 1000
    with bench.service.reloading():
        first, second = manager.heard()
    after = time.monotonic_ns() // 1000

    assert "RELOADING=1" == first
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= after
    assert ["READY=1", "STATUS=reading the manifests"] == manager.heard()


def test_stopping_asks_for_patience_while_steps_end(manager: Manager, bench: Bench) -> None:
    """Unless they are stuck."""
    with bench.service.stopping():
        time.sleep(0.1)
    heard = manager.heard()
    assert "STOPPING=1" == heard[0]
    assert "EXTEND_TIMEOUT_USEC=30000000" in heard

    bench.age = 31.0
    with bench.service.stopping():
        time.sleep(0.1)
    assert not [line for line in manager.heard() if "EXTEND" in line]


def test_an_abstract_socket_and_one_that_is_gone() -> None:
    """As containers have them; nobody may fail over telling."""
    abstract = Manager(f"@reconvirt-test-{os.getpid()}")
    Notifier(abstract.address, None).status("two\nlines")
    assert ["STATUS=two lines"] == abstract.heard()
    abstract.close()

    Notifier(abstract.address, None).alive()
    Notifier("/nowhere/at/all", None).alive()
    Notifier("", None).alive()


@pytest.mark.parametrize(
    ("process", "period"),
    [("", 30.0), (str(os.getpid()), 30.0), ("1", None)],
    ids=["nobody", "this", "another"],
)
def test_the_environment(
    monkeypatch: pytest.MonkeyPatch, manager: Manager, process: str, period: float | None
) -> None:
    """WATCHDOG_PID names the process that is meant."""
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", process)

    notifier = Notifier()
    notifier.alive()

    assert period == notifier.watchdog
    assert ["WATCHDOG=1"] == manager.heard()


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (NOTHING_READ, "reading the manifests"),
        (state(a=Phase.CONVERGED), "1 virtual server, revision abc1234"),
        (
            replace(state(a=Phase.FAILED, b=Phase.FAILED), problems=1, connected=False),
            (
                "2 virtual servers, 2 have failed, 1 problem in manifests, revision abc1234, "
                "no connection to libvirt"
            ),
        ),
    ],
)
def test_the_status_line(told: State, words: str) -> None:
    """What matters, in a few words."""
    assert words == describe(told)


def test_a_pool_is_alive_while_one_worker_is_free() -> None:
    """Its age is that of the one that became busy last."""
    clock = Clock()
    pulse = Pulse(2, clock)
    leave = threading.Event()

    def work() -> None:
        with pulse.busy():
            leave.wait(10)

    first = threading.Thread(target=work)
    first.start()
    while not pulse._since:
        time.sleep(0.01)
    clock.now += 100
    assert 0 == pulse.age()
    with pulse.busy():
        clock.now += 7
        assert 7 == pulse.age()
    assert 0 == pulse.age()
    leave.set()
    first.join()


def test_a_beat() -> None:
    """Seconds since the last one."""
    clock = Clock()
    beat = Beat(clock)
    clock.now += 5
    assert 5 == beat.age()
    beat()
    assert 0 == beat.age()
