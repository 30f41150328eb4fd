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
QEMU_DOWNTIME = 300


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


def test_libvirt_is_silent(two: Two, unique_name: Name) -> None:
    """The stated keepalive tells it in seconds; libvirt goes on, and so does the migration."""
    name = unique_name()
    host, keepalive = two.hosts[0], {"keepalive_interval": 1, "keepalive_count": 2}
    policy = {"migration": {**SLOW["migration"], **keepalive}}
    two.desired.manifest(name, host="zhost1", policy=policy)
    two.start()
    console = host.console(name)
    console.wait_for("^GUEST cpus=")
    two.desired.manifest(name, host="zhost2", policy=policy)
    two.wait_until_moving(name)

    with host.silent_libvirtd():
        # Of the usual keepalive it would be 20 s.
        two.daemons[0].wait_for("migration not done", timeout=15)
    host.virsh("migrate-setspeed", name, "100")

    two.wait_for_move(name, 1)
    assert len(re.findall("^GUEST-UP", console.text, re.MULTILINE)) == 1


def test_the_manifest_changes_back_while_no_daemon_is_there(slowly: Slowly) -> None:
    """The next one knows where it goes, and ends it."""
    two = slowly.two
    two.daemons[0].kill()
    slowly.want(0)
    two.daemons[0].start()

    line = two.daemons[0].wait_for("migration not done", timeout=60)

    assert "it shall stay here" in line["message"]
    assert slowly.running() == [0]
    two.wait_for_move(slowly.name, 0)
    assert slowly.boots() == 1


def test_the_daemon_dies_while_its_host_is_emptied(two: Two, unique_name: Name) -> None:
    """On the way to the second choice: the next daemon goes on with that, not with the first."""
    name = unique_name()
    host, second = two.hosts
    two.desired.manifest(name, host="zhost1", policy=SLOW)
    two.start()
    console = host.console(name)
    console.wait_for("^GUEST cpus=")
    away = f"qemu+tcp://{second.address.rpartition('.')[0]}.77/system"
    two.desired.host(second, name="zhost3", uri=away)
    two.desired.manifest(name, host="zhost1", hosts=["zhost3", "zhost2"], policy=SLOW)
    two.desired.host(host, maintenance={"evacuate": True})
    two.wait_until_moving(name)

    two.daemons[0].kill()
    two.daemons[0].start()
    begun = two.daemons[0].wait_for("migration begun")
    host.virsh("migrate-setspeed", name, "100")
    two.wait_for_move(name, 1)

    assert begun["message"] == "to zhost2"
    two.daemons[0].wait_for("migration done", timeout=30)
    assert len(re.findall("^GUEST-UP", console.text, re.MULTILINE)) == 1


def test_a_person_ends_it(slowly: Slowly) -> None:
    """It stays until he asks for it, even of a new daemon; the status says so."""
    two, name = slowly.two, slowly.name

    two.programs[0]("migrate", "--abort", name)
    line = two.daemons[0].wait_for("refused", timeout=60, virtual_server=name)
    two.daemons[0].kill()
    two.daemons[0].start()
    again = two.daemons[0].wait_for("refused", timeout=60, virtual_server=name)

    assert "ended by hand" in line["message"]
    assert f"reconvirt reconcile {name}" in again["message"]
    assert "Stalled" in str(two.programs[0].json("get", name))
    assert not two.daemons[0].logged("migration begun")
    assert slowly.running() == [0]
    two.programs[0]("reconcile", name)
    two.wait_until_moving(name)


def test_a_person_ends_what_an_earlier_daemon_has_begun(slowly: Slowly) -> None:
    """The one that goes on with it is told by the command."""
    two, name = slowly.two, slowly.name
    two.daemons[0].kill()
    two.daemons[0].start()
    two.daemons[0].wait_for("migration begun")

    two.programs[0]("migrate", "--abort", name)
    line = two.daemons[0].wait_for("refused", timeout=60, virtual_server=name)

    assert "ended by hand" in line["message"]
    assert slowly.running() == [0]
    again = two.programs[0]("migrate", "--abort", name, status=1)
    assert "no job" in again.lower()


def test_virsh_ends_it_and_the_manifest_changes(slowly: Slowly) -> None:
    """It is as if reconvirt had been told; another manifest has it moved."""
    two, name = slowly.two, slowly.name

    two.hosts[0].virsh("domjobabort", name)
    two.daemons[0].wait_for("refused", timeout=60, virtual_server=name)

    assert slowly.running() == [0]
    slowly.converges(1)


def test_when_it_will_have_moved_is_told(slowly: Slowly) -> None:
    """By get, once and going on, by describe, by why, and by the interface behind them."""
    two, name = slowly.two, slowly.name
    program = two.programs[0]

    def told() -> dict[str, Any] | None:
        migration = program.json("get", name)["virtualServers"][0]["migration"]
        known = migration is not None and migration["expected_end"] is not None
        return migration if known else None

    migration = wait_until(told, 60, "the expected end")
    assert 0 < migration["expected_end"] <= migration["remaining"]
    left = r"about \d+ s to go"
    assert re.search(left, program("get", name))
    assert re.search(left, program("describe", name))
    assert re.search(r"it is there in about \d+ s", program("why", name))
    with program.follow("get", "--watch", name) as watching:
        watching.wait_for(left)


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


@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_the_disk_of_the_destination_is_full(two: Two, unique_name: Name, kind: str) -> None:
    """It goes on at the source, and the image that was made for the copy is gone.

    One in raw format is left, and reported: once it has data, it is not known again.
    """
    host, second = two.hosts
    name = unique_name()
    image = host.local / f"{name}-a"
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, image, "40M"], check=True)
    fill = ["qemu-io", "-f", kind, "-c", "write -P 0x5a 0 40M", str(image)]
    subprocess.run(fill, check=True, stdout=subprocess.DEVNULL)
    options = ("-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs", str(host.local))
    subprocess.run(second.inside("mount", *options), check=True)
    try:
        spec = {
            "devices": {"disks": [disk(image, "vda", kind=kind)]},
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
        reported = two.daemons[0].logged("image left", virtual_server=name)
        left = [str(image)] if kind == "raw" else []
        assert [str(host.local / each) for each in listed.stdout.split()] == left
        assert [each["message"].partition(" ")[0] for each in reported] == left
    finally:
        two.stop()
        second.destroy_everything()
        subprocess.run(second.inside("umount", str(host.local)), check=True)


def test_the_downtime_rises_to_its_limit(two: Two, unique_name: Name) -> None:
    """Short ones are tried first; the stated one is the last."""
    name = unique_name()
    host = two.hosts[0]
    policy = {"migration": {**SLOW["migration"], "max_downtime": 3200}}
    two.desired.manifest(name, host="zhost1", policy=policy)
    two.start()
    host.console(name).wait_for("^GUEST cpus=")
    two.desired.manifest(name, host="zhost2", policy=policy)
    two.wait_until_moving(name)
    seen: list[int] = []

    def at_its_limit() -> bool:
        seen.append(int(host.virsh("migrate-getmaxdowntime", name)))
        return seen[-1] == 3200

    wait_until(at_its_limit, 60, "the downtime to reach its limit")
    raised = list(dict.fromkeys(each for each in seen if each != QEMU_DOWNTIME))
    assert set(raised) <= {100, 200, 400, 800, 1600, 3200}
    assert raised == sorted(raised)
    assert len(raised) >= 4, seen


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
