"""What happens when something breaks in the middle of a migration: one copy, always."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from testbed import Two, disk, wait_until

Name = Callable[..., str]
SLOW = {"migration": {"unsafe": True, "bandwidth": 1}}
FAST = {"migration": {"unsafe": True}}
RUNS = ("running", "paused")


class Slowly:
    """A virtual server whose migration to the second host takes a minute."""

    def __init__(self, two: Two, name: str) -> None:
        self.two, self.name = two, name
        self.console = two.hosts[0].console(name)
        self.image = two.hosts[0].image(f"{name}-a")
        self.want(0)
        two.start()
        self.console.wait_for("^GUEST cpus=")
        self.want(1)
        two.wait_until_moving(name)

    def want(self, number: int, policy: object = SLOW) -> None:
        """State where it shall be."""
        self.two.desired.manifest(
            self.name,
            host=self.two.hosts[number].NAME,
            policy=policy,
            devices={"disks": [disk(self.image, "vda")]},
        )

    def running(self) -> list[int]:
        """On which hosts its guest does something."""
        return [number for number in (0, 1) if self.two.state(number, self.name) == "running"]

    def job(self) -> dict[str, int]:
        """The numbers of its migration, as the source's libvirt has them."""
        printed = self.two.hosts[0].virsh("domjobinfo", self.name, "--rawstats")
        pairs = re.findall(r"^(\S+):\s+(\d+)$", printed, re.MULTILINE)
        return {key: int(value) for key, value in pairs}

    def status(self) -> dict[str, Any]:
        """What the source's daemon says of it."""
        found: dict[str, Any] = self.two.programs[0].json("get", self.name)["virtualServers"][0]
        return found

    def told(self) -> dict[str, Any] | None:
        """How far the source's daemon says that it is; None before it knows."""
        migration: dict[str, Any] | None = self.status()["migration"]
        return migration if migration is not None and migration["processed"] else None

    def is_on_one_host_only(self, number: int) -> None:
        """It runs there, is defined only there, and was never booted again."""
        assert self.running() == [number]
        assert [each.names() for each in self.two.hosts][1 - number] == []
        assert [each.names() for each in self.two.hosts][number] == [self.name]
        assert self.boots() == 1

    def boots(self) -> int:
        """How often its console shows that it has booted."""
        return len(re.findall("^GUEST-UP", self.console.text, re.MULTILINE))

    def converges(self, number: int) -> None:
        """In the end it is on this host only, and was never booted again."""
        self.want(number, FAST)
        self.two.wait_for_move(self.name, number)
        assert self.boots() == 1


@pytest.fixture
def slowly(two: Two, unique_name: Name) -> Slowly:
    """A migration that runs."""
    return Slowly(two, unique_name())


def test_the_destination_dies(slowly: Slowly) -> None:
    """It runs at the source on; it moves when the destination is back."""
    second = slowly.two.hosts[1]

    second.kill_libvirtd()

    slowly.two.daemons[0].wait_for("migration not done", timeout=90)
    assert slowly.two.state(0, slowly.name) == "running"
    second.start_libvirtd()
    slowly.converges(1)


def test_the_network_is_cut(slowly: Slowly) -> None:
    """The source goes on; nothing starts at the destination while nobody can be asked."""
    second = slowly.two.hosts[1]

    second.cut()

    slowly.two.daemons[0].wait_for("migration not done", timeout=110)
    assert slowly.running() == [0]
    second.mend()
    slowly.converges(1)


def test_the_source_dies(slowly: Slowly) -> None:
    """Its guest runs on without libvirt, and is found again."""
    host, second = slowly.two.hosts

    host.kill_libvirtd()
    wait_until(lambda: slowly.two.state(1, slowly.name) == "", 60, "the left-over to go")
    host.start_libvirtd()

    assert slowly.two.state(0, slowly.name) == "running"
    assert slowly.running() == [0]
    slowly.converges(1)
    assert second.names() == [slowly.name]


def test_both_daemons_die(slowly: Slowly) -> None:
    """libvirt carries on; the daemons find the migration and go on with it."""
    for daemon in slowly.two.daemons:
        daemon.kill()
    slowly.two.hosts[0].virsh("domjobinfo", slowly.name)
    slowly.two.start()
    slowly.two.hosts[0].virsh("migrate-setspeed", slowly.name, "100")

    slowly.two.wait_for_move(slowly.name, 1)

    assert slowly.boots() == 1
    slowly.two.daemons[0].wait_for("migration done", timeout=30)


def test_the_daemon_of_the_source_dies(slowly: Slowly) -> None:
    """libvirt goes on by itself; a new daemon takes up the same migration."""
    daemon, host = slowly.two.daemons[0], slowly.two.hosts[0]
    before = slowly.job()

    daemon.kill()
    wait_until(
        lambda: slowly.job()["data_processed"] > before["data_processed"], 60, "libvirt to go on"
    )
    assert slowly.running() == [0]
    daemon.start()

    told = wait_until(slowly.told, 60, "the daemon to tell how far it is")
    # One that had begun anew would have begun at 0.
    assert told["seconds"] * 1000 > before["time_elapsed"]
    assert told["processed"] > before["data_processed"]
    host.virsh("migrate-setspeed", slowly.name, "1000")
    slowly.two.wait_for_move(slowly.name, 1)
    line = daemon.wait_for("migration done", timeout=60, virtual_server=slowly.name)
    assert line["message"] == "it was moved to zhost2"
    slowly.is_on_one_host_only(1)


def test_it_moves_while_the_daemon_of_the_source_is_dead(slowly: Slowly) -> None:
    """The daemon that is started anew finds it moved, and does nothing to it."""
    daemon, host = slowly.two.daemons[0], slowly.two.hosts[0]

    daemon.kill()
    host.virsh("migrate-setspeed", slowly.name, "1000")
    slowly.two.wait_for_move(slowly.name, 1)
    daemon.start()

    wait_until(
        lambda: slowly.status()["message"] == "it is for zhost2", 60, "the daemon to look at it"
    )
    assert daemon.logged("migration begun") == []
    slowly.is_on_one_host_only(1)


def test_the_manifest_changes_back(slowly: Slowly) -> None:
    """The migration is ended, and the guest goes on where it was."""
    slowly.want(0)

    slowly.two.daemons[0].wait_for("migration not done", timeout=30)

    assert slowly.running() == [0]
    slowly.two.wait_for_move(slowly.name, 0)
    assert slowly.boots() == 1


def test_the_disk_of_the_destination_is_full(two: Two, unique_name: Name) -> None:
    """It goes on at the source, and the image that was made for the copy is gone."""
    host, second = two.hosts
    name = unique_name()
    image = host.local / f"{name}-a"
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", image, "40M"], check=True)
    fill = ["qemu-io", "-f", "raw", "-c", "write -P 0x5a 0 40M", str(image)]
    subprocess.run(fill, check=True, stdout=subprocess.DEVNULL)
    options = ("-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs", str(host.local))
    subprocess.run(second.inside("mount", *options), check=True)
    try:
        spec = {
            "devices": {"disks": [disk(image, "vda", kind="raw")]},
            "policy": {"migration": {"copied": ["vda"]}},
        }
        two.desired.manifest(name, host="zhost1", **spec)
        two.start()
        console = host.console(name)
        console.wait_for("^GUEST cpus=0 blk=vda:40MiB")

        two.desired.manifest(name, host="zhost2", **spec)
        two.daemons[0].wait_for("migration not done", timeout=90)

        assert two.state(0, name) == "running"
        wait_until(lambda: two.state(1, name) == "", 30, "the left-over to go")
        two.stop()
        listed = subprocess.run(
            second.inside("ls", str(host.local)), capture_output=True, text=True, check=True
        )
        assert listed.stdout.split() == []
    finally:
        two.stop()
        second.destroy_everything()
        subprocess.run(second.inside("umount", str(host.local)), check=True)


def test_one_that_takes_too_long_stays(two: Two, unique_name: Name) -> None:
    """The timeout of its policy ends the migration."""
    name = unique_name()
    policy = {"migration": {**SLOW["migration"], "timeout": 3, "max_downtime": 100}}
    two.desired.manifest(name, host="zhost1", policy=policy)
    two.start()
    two.hosts[0].console(name).wait_for("^GUEST cpus=")

    two.desired.manifest(name, host="zhost2", policy=policy)
    line = two.daemons[0].wait_for("migration not done", timeout=60)

    assert "it took too long" in line["message"]
    assert (two.state(0, name), two.state(1, name)) == ("running", "")
