"""What a destination cannot run, or a source cannot let go: told before, and true.

libvirt refuses the same where it is asked to move it by hand, unless a test says otherwise. Nothing
moves until it is mended as the remedy says.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from testbed import Desired, Guest, Two, VirshError, disk, wait_until
from testbed.emulator import another_emulator
from testbed.iscsi import IscsiTarget
from testbed.kvm import KvmHost, KvmSecondHost, kvm_is_usable
from testbed.lacks import Lack, skip

Name = Callable[..., str]
UNSAFE = {"migration": {"unsafe": True}}
BY_HAND = ("--live", "--p2p", "--persistent", "--undefinesource", "--unsafe")
MACHINE = "s390-ccw-virtio-7.2"


class Stays:
    """A virtual server at the first host that cannot be moved to the second."""

    def __init__(self, two: Two, name: str, **spec: Any) -> None:
        self.two, self.name = two, name
        self.spec: dict[str, Any] = {"state": "paused", "policy": UNSAFE, **spec}
        self.want(0)
        two.programs[0].apply(name)

    def want(self, number: int, **spec: Any) -> None:
        """State where it shall be, and what else."""
        self.spec |= spec
        self.two.desired.manifest(self.name, host=self.two.hosts[number].NAME, **self.spec)

    def by_hand(self) -> str:
        """What libvirt says when it is asked to move it."""
        with pytest.raises(VirshError) as refused:
            self.two.hosts[0].virsh("migrate", *BY_HAND, self.name, self.two.hosts[1].remote_uri)
        return str(refused.value)

    def is_refused(self, reason: str, remedy: str) -> None:
        """By the check, by the plan and by the daemon, with reason and remedy; nothing moves."""
        program = self.two.programs[0]
        self.want(1)
        printed = program("migrate", "--check", self.name, "zhost2", status=1).splitlines()
        at = [number for number, line in enumerate(printed) if reason in line]
        assert len(at) == 1, printed
        assert remedy in printed[at[0] + 1]
        (told,) = [
            each["reason"]
            for each in program.plan(self.name, status=1)["virtualServers"][0]["refused"]
            if reason in each["reason"]
        ]
        assert remedy in told
        self.two.start()
        daemon = self.two.daemons[0]
        line = daemon.wait_for("migration not done", timeout=60, virtual_server=self.name)
        assert reason in line["message"]
        assert remedy in line["message"]
        assert (self.two.state(0, self.name), self.two.state(1, self.name)) == ("paused", "")

    def is_restarted(self, **spec: Any) -> None:
        """It is given something else, which a restart brings."""
        self.want(0, **spec)
        host = self.two.hosts[0]
        host.virsh("destroy", self.name)
        wait_until(lambda: self.two.state(0, self.name) == "paused", 60, "its restart")

    def moves(self) -> None:
        """Nothing stands against it any more."""
        self.want(1)
        self.two.wait_for_move(self.name, 1, "paused")


def lacks_the_machine(root: etree._Element) -> None:
    """An emulator of an older release, which has older machine types only."""
    for machine in root.xpath(f"machine[@name='{MACHINE}']"):
        root.remove(machine)


def has_few_cpus(root: etree._Element) -> None:
    """One whose machine types have two vCPUs at most."""
    for machine in root.iterfind("machine"):
        machine.set("maxCpus", "2")


def lacks_sse(root: etree._Element) -> None:
    """A processor without SSE, as KVM gives it."""
    for feature in root.xpath("hostCPU[@type='kvm']/property[@name='sse']"):
        feature.set("value", "false")


def test_the_destination_lacks_its_machine_type(two: Two, unique_name: Name) -> None:
    """It moves with one of a release that the destination has."""
    it = Stays(two, unique_name())
    with another_emulator(two.hosts[1], lacks_the_machine):
        assert "does not support machine type" in it.by_hand()
        it.is_refused(
            f"the destination cannot run its machine type, {MACHINE}",
            "state os.machine of a release that the destination has",
        )

        it.is_restarted(os={**two.desired.os, "machine": "s390-ccw-virtio-7.1"})
        it.moves()
        two.stop()


def test_the_destination_allows_fewer_vcpus(two: Two, unique_name: Name) -> None:
    """It moves with fewer."""
    it = Stays(two, unique_name(), vcpu={"maximum": 3, "current": 1})
    with another_emulator(two.hosts[1], has_few_cpus):
        assert "Maximum CPUs greater than specified machine type limit" in it.by_hand()
        it.is_refused("it has 3 vCPUs, and the destination allows 2", "make vcpu.maximum smaller")

        it.is_restarted(vcpu={"maximum": 2, "current": 1})
        it.moves()
        two.stop()


def test_the_destination_has_too_little_memory(two: Two, unique_name: Name) -> None:
    """It moves when there is enough."""
    it = Stays(two, unique_name())
    with little_memory(two, 100):
        it.is_refused(
            "it needs 192 MiB, and 100 MiB are free at the destination",
            "move others away first, or make its memory smaller",
        )
    it.moves()


@contextmanager
def little_memory(two: Two, mebibytes: int) -> Iterator[None]:
    """The second host as a container shows it that may use so much only."""
    file = two.hosts[1].directory / "meminfo"
    numbers = {"MemTotal": 1 << 20, "MemFree": mebibytes << 10, "Buffers": 0, "Cached": 0}
    lines = (f"{name}: {number} kB\n" for name, number in numbers.items())
    file.write_text("".join(lines), encoding="utf-8")
    meminfo = "/proc/meminfo"
    subprocess.run(two.hosts[1].inside("mount", "--bind", str(file), meminfo), check=True)
    try:
        yield
    finally:
        subprocess.run(two.hosts[1].inside("umount", meminfo), check=True)


@pytest.fixture
def kvm(tmp_path: Path, guest: Guest) -> Iterator[Two]:
    """Two hosts with KVM."""
    if not kvm_is_usable():
        skip(Lack.KVM)
    directory = tmp_path / "desired"
    directory.mkdir()
    with KvmHost.take() as first, KvmSecondHost(first) as second:
        both = Two((first, second), Desired(directory, first, guest), tmp_path)
        yield both
        both.stop()
        second.destroy_everything()


@pytest.mark.libvirt
def test_the_destination_cannot_run_its_cpu_model(kvm: Two) -> None:
    """With KVM; it moves with a model that both hosts have."""
    spec: dict[str, Any] = {
        "type": "kvm",
        "vcpu": {"maximum": 1},
        "os": {"arch": "x86_64", "machine": "pc"},
        "devices": {"consoles": [], "memballoon": {"model": "none"}},
    }
    it = Stays(kvm, kvm.hosts[0].unique_name(), cpu={"mode": "custom", "model": "pentium3"}, **spec)
    with another_emulator(kvm.hosts[1], lacks_sse, arch="x86_64", kind="kvm"):
        # The processor itself has it, so by hand it would move.
        it.is_refused(
            "the destination cannot run its CPU model, pentium3",
            "state a CPU model that both hosts have (spec.cpu), and restart it",
        )

        it.is_restarted(cpu={"mode": "custom", "model": "pentium2"})
        it.moves()
        kvm.stop()


JOBS = {
    "copy": (
        ("blockcopy", "vda", "--dest", "{copy}", "--transient-job"),
        ("--bytes", "--bandwidth", "65536"),
    ),
    "pull": (("blockpull", "vda"), ("--bytes", "--bandwidth", "65536")),
    "commit": (
        ("blockcommit", "vda", "--base", "{base}", "--top", "{middle}"),
        ("--bytes", "--bandwidth", "65536"),
    ),
    "active commit": (
        ("blockcommit", "vda", "--active", "--base", "{base}"),
        ("--bytes", "--bandwidth", "65536"),
    ),
}


@pytest.mark.parametrize("job", JOBS)
def test_a_block_job_runs(two: Two, unique_name: Name, job: str) -> None:
    """Of each kind, also those of which its XML says nothing; it moves when the job has ended."""
    host = two.hosts[0]
    name = unique_name()
    places = {each: host.images / f"{name}-{each}" for each in ("base", "middle", "top", "copy")}
    host.image(places["base"].name, "32M")
    below = places["base"]
    for each in ("middle", "top"):
        _fill(below)
        command = ("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b")
        subprocess.run([*command, below, places[each]], check=True)
        below = places[each]
    it = Stays(two, name, devices={"disks": [disk(places["top"], "vda")]})
    (verb, *rest), slowly = JOBS[job]
    named = {each: str(path) for each, path in places.items()}
    host.virsh(verb, name, *(each.format(**named) for each in rest), *slowly)

    assert "block job" in it.by_hand()
    it.is_refused(
        "a block job works on vda",
        f"wait until it has ended, or end it: 'virsh blockjob {name} vda --abort'",
    )

    host.virsh("blockjob", name, "vda", "--abort")
    it.moves()


def _fill(image: Path) -> None:
    io = ["qemu-io", "-f", "qcow2", "-c", "write -q -P 0x5a 0 24M", str(image)]
    subprocess.run(io, check=True, stdout=subprocess.DEVNULL)


def test_it_has_snapshots(two: Two, unique_name: Name) -> None:
    """It moves without."""
    host = two.hosts[0]
    name = unique_name()
    it = Stays(two, name, devices={"disks": [disk(host.image(f"{name}-a"), "vda")]})
    host.virsh("snapshot-create-as", name, "before")

    assert "snapshots" in it.by_hand()
    it.is_refused("it has snapshots, which do not move", f"'virsh snapshot-list {name}'")

    host.virsh("snapshot-delete", name, "before")
    it.moves()


def test_a_device_is_on_pci(two: Two, unique_name: Name) -> None:
    """On s390x; it moves with a channel address."""
    host = two.hosts[0]
    name = unique_name()
    plain = disk(host.image(f"{name}-a"), "vda")
    it = Stays(two, name, devices={"disks": [{**plain, "address": {"type": "pci"}}]})

    assert "non-migratable device" in it.by_hand()
    it.is_refused("the disk vda is on PCI", "give it an address of the type ccw")

    it.is_restarted(devices={"disks": [{**plain, "address": {"type": "ccw"}}]})
    it.moves()


def test_it_has_a_host_device(two: Two, unique_name: Name, tmp_path: Path) -> None:
    """A SCSI device, plugged in by hand; it moves without."""
    host = two.hosts[0]
    name = unique_name()
    controllers = [{"type": "scsi", "index": 0, "model": "virtio-scsi"}]
    it = Stays(two, name, devices={"controllers": controllers})
    with IscsiTarget(host.directory / "unit", host.address) as target:
        xml = tmp_path / "hostdev.xml"
        xml.write_text(target.xml, encoding="utf-8")
        host.virsh("attach-device", name, xml, "--live")

        # libvirt 9.0 itself lets it go, and does not look what the other host has at its address.
        it.is_refused("it has a host device", "make it a hotplug device (persistent: false)")

        host.virsh("detach-device", name, xml, "--live")
        it.moves()
