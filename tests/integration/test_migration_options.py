"""The options of a migration, on two real hosts: what QEMU is told, and that the guest goes on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import Two, disk, wait_until
from testbed.lacks import Lack

Name = Callable[..., str]
PAGE_FAULTS = Path("/proc/sys/vm/unprivileged_userfaultfd")
POST_COPY_SETTINGS = ('user = "root"', 'group = "root"', "clear_emulator_capabilities = 0")


class Traveller:
    """A booted guest that is moved with some options."""

    def __init__(self, two: Two, name: str, **options: Any) -> None:
        self.two, self.name = two, name
        self.policy = {"migration": {"unsafe": True, **options}}
        self.console = two.hosts[0].console(name)
        self._want(0, 1)
        two.start()
        self.uptime = self._uptime("0")
        self._monitors = [host.log_monitors() for host in two.hosts]

    def leave(self) -> None:
        """Its manifest states the other host."""
        self._want(1, 1)

    def arrives(self, state: str = "running") -> None:
        """It is at the destination only."""
        self.two.wait_for_move(self.name, 1, state)

    def goes_on(self) -> None:
        """Its guest takes another CPU, and has not been booted again."""
        self._want(1, 2)
        assert self._uptime("0-1") > self.uptime
        assert len(re.findall("^GUEST-UP", self.console.text, re.MULTILINE)) == 1

    def told(self, number: int = 0) -> str:
        """What QEMU was told at the source, or at the destination."""
        lines = self._monitors[number].read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(line for line in lines if "QEMU_MONITOR_IO_WRITE" in line)

    def _want(self, number: int, cpus: int) -> None:
        self.two.desired.manifest(
            self.name,
            host=self.two.hosts[number].NAME,
            policy=self.policy,
            vcpu={"maximum": 2, "current": cpus},
        )

    def _uptime(self, cpus: str) -> int:
        return int(self.console.wait_for(rf"^GUEST cpus={cpus} .*uptime=(\d+)")[1])


PLAIN = '"migrate-incoming","arguments":{"uri":"tcp:'


@pytest.mark.parametrize(
    ("options", "number", "told"),
    [
        ({"auto_converge": True}, 0, '{"capability":"auto-converge","state":true}'),
        ({"compressed": True}, 0, '{"capability":"xbzrle","state":true}'),
        ({"parallel": 4}, 0, '"multifd-channels":4'),
        ({"bandwidth": 7}, 0, f'"max-bandwidth":{7 << 20}'),
        ({"tunnelled": True}, 1, '"migrate-incoming","arguments":{"uri":"fd:'),
        ({"suspend": True}, 1, PLAIN),
        ({}, 1, PLAIN),
    ],
    ids=str,
)
def test_qemu_is_told(
    two: Two, unique_name: Name, options: dict[str, Any], number: int, told: str
) -> None:
    """And the guest goes on; who is to arrive paused is let go on by the other daemon."""
    traveller = Traveller(two, unique_name(), **options)

    traveller.leave()
    traveller.arrives()

    assert told in traveller.told(number)
    # QEMU's guests arrive stopped; libvirt lets them go on, unless it is told to leave that.
    resumed = two.daemons[1].logged("step done", step="resume")
    assert bool(resumed) is options.get("suspend", False)
    traveller.goes_on()


def test_it_is_suspended_at_the_timeout(two: Two, unique_name: Name) -> None:
    """Then the rest of it is sent, and it runs at the destination."""
    traveller = Traveller(two, unique_name(), bandwidth=2, timeout=3, on_timeout="suspend")

    traveller.leave()
    host = two.hosts[0]
    wait_until(lambda: "paused" in two.state(0, traveller.name), 60, "it to be suspended")
    assert "Outgoing" in host.virsh("domjobinfo", traveller.name)
    traveller.arrives()

    assert "migration takes too long" in str(two.daemons[0].lines)
    traveller.goes_on()


@pytest.fixture
def post_copy(two: Two) -> Iterator[Two]:
    """Two hosts whose QEMU may handle its guests' page faults."""
    with contextlib.ExitStack() as stack:
        for host in two.hosts:
            stack.enter_context(host.qemu_settings(*POST_COPY_SETTINGS))
        yield two
        two.stop()
        for host in two.hosts:
            host.destroy_everything()


def test_post_copy_at_the_timeout(post_copy: Two, unique_name: Name) -> None:
    """It runs at the destination before all its memory is there."""
    options = {"bandwidth": 1, "timeout": 3, "post_copy": True, "on_timeout": "post-copy"}
    traveller = Traveller(post_copy, unique_name(), **options)

    traveller.leave()
    traveller.arrives()

    assert '"execute":"migrate-start-postcopy"' in traveller.told()
    traveller.goes_on()


@pytest.mark.skipif(
    not PAGE_FAULTS.exists() or PAGE_FAULTS.read_text(encoding="utf-8").strip() != "0",
    reason=Lack.PAGE_FAULTS,
)
def test_post_copy_without_the_right_to_it(two: Two, unique_name: Name) -> None:
    """The guest goes on where it is, and the status says what helps."""
    name = unique_name()
    traveller = Traveller(two, name, post_copy=True)

    traveller.leave()
    line = two.daemons[0].wait_for("migration not done", timeout=60)

    assert "vm.unprivileged_userfaultfd" in line["message"]
    conditions = two.programs[0].json("get", name)
    assert "Stalled" in str(conditions)
    assert (two.state(0, name), two.state(1, name)) == ("running", "")


def test_libvirt_fears_for_its_data(two: Two, unique_name: Name) -> None:
    """A disk with a cache: the status says what helps."""
    name = unique_name()
    devices = {"disks": [disk(two.hosts[0].image(f"{name}-a"), "vda")]}
    spec: dict[str, Any] = {"devices": devices}
    two.desired.manifest(name, host="zhost1", **spec)
    two.start()
    two.hosts[0].console(name).wait_for("^GUEST cpus=")

    two.desired.manifest(name, host="zhost2", **spec)
    line = two.daemons[0].wait_for("migration not done", timeout=60)

    assert "policy.migration.unsafe: true" in line["message"]
    assert (two.state(0, name), two.state(1, name)) == ("running", "")
