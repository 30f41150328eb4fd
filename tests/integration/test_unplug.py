"""Devices that are asked back, from guests that never answer; and those that are not ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import yaml

from reconvirt.cli.wanted import read_wanted
from reconvirt.controller import requests
from reconvirt.controller.outcome import Phase
from reconvirt.controller.reconcile import Reconciler
from reconvirt.hypervisor.connection import Hypervisor
from testbed import (
    Desired,
    LibvirtHost,
    Reconvirt,
    addresses,
    assert_settled,
    config,
    disk,
    disks,
    live,
    outcome,
    verbs,
    x86_domain_xml,
)

Name = Callable[..., str]

Q35 = {"os": {"arch": "x86_64", "machine": "q35"}, "memory": "64 MiB", "vcpu": 1}


@pytest.fixture
def hypervisor(host: LibvirtHost) -> Iterator[Hypervisor]:
    """A connection of the program's own, in this process."""
    connection = Hypervisor(host.uri)
    yield connection
    connection.close()


def test_a_guest_that_never_answers_is_told_of(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    hypervisor: Hypervisor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing on an x86 machine releases a disk: that is said, and holds up no other change."""
    name = unique_name()
    host.define(x86_domain_xml(name, "q35"))
    host.virsh("start", name)
    reconvirt("import", name, "-o", desired.path)
    assert_settled(reconvirt)
    path = desired.path / f"{name}.yaml"
    manifest = yaml.safe_load(path.read_text())
    plain = path.read_text()
    manifest["spec"].setdefault("devices", {})["disks"] = [disk(host.image(f"{name}-a"), "vda")]
    path.write_text(yaml.safe_dump(manifest))
    report = reconvirt.apply()
    assert "attach" in verbs(report)
    assert addresses(config(host, name))["vda"] == addresses(live(host, name))["vda"]
    assert_settled(reconvirt)

    path.write_text(plain.replace("spec:\n", "spec:\n  title: without the disk\n"))
    report = outcome(reconvirt.json("apply", "--timeout", "10", status=1))

    assert "waiting for the guest" == report["phase"]
    assert "the guest has been asked: devices.disks[vda]" == report["message"]
    assert "without the disk" == live(host, name).findtext("title")
    assert {"vda"} == set(disks(host, name))
    assert {} == disks(host, name, "--inactive")

    # The same in this process, with less patience.
    monkeypatch.setattr(requests, "ASK_AGAIN_SECONDS", 0.5)
    monkeypatch.setattr(requests, "MOST_REQUESTS", 3)
    reconciler = Reconciler(lambda: hypervisor)
    (wanted,) = read_wanted(desired.path).desired.values()
    phases = []
    for _ in range(5):
        last = reconciler.reconcile(wanted)
        phases.append(last.phase)
        time.sleep(last.again_after or 0)
    assert [Phase.WAITING_FOR_GUEST] * 3 == phases[:3]
    assert Phase.NO_ANSWER is last.phase
    assert "the guest has not answered 3 requests" in last.message
    assert "for devices.disks[vda]" in last.message

    path.write_text(plain.replace("spec:\n", "spec:\n  title: still there\n"))
    (wanted,) = read_wanted(desired.path).desired.values()
    last = reconciler.reconcile(wanted)
    assert Phase.WAITING_FOR_GUEST is last.phase  # another manifest: it is asked again
    assert (
        "still there" == live(host, name).findtext("title") == config(host, name).findtext("title")
    )

    host.virsh("destroy", name)
    reconvirt.apply()
    assert {} == disks(host, name)
    assert_settled(reconvirt)


def test_a_disk_that_was_exchanged_by_hand_is_not_detached(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """What stands behind the target now was never ours; the configuration's disk was."""
    name = unique_name()
    ours, theirs = host.image(f"{name}-ours", "16M"), host.image(f"{name}-theirs", "24M")
    desired.manifest(name, devices={"disks": [disk(ours, "vda")]})
    reconvirt.apply()
    console = host.console(name)
    console.wait_for(r"^GUEST cpus=0 blk=vda:16MiB ")
    host.virsh("detach-disk", name, "vda", "--live")
    console.wait_for(r"^GUEST cpus=0 blk=- ")
    host.virsh("attach-disk", name, theirs, "vda", "--subdriver", "qcow2", "--live")
    console.wait_for(r"^GUEST cpus=0 blk=vda:24MiB ")

    desired.manifest(name, cputune=None, title="no disk")
    report = outcome(reconvirt.apply(status=1))

    assert "diverged" == report["phase"]
    (diverged,) = report["diverged"]
    assert "devices.disks[vda].source" == diverged["field"]
    assert str(theirs) == diverged["old"]
    assert {"vda": str(theirs)} == disks(host, name)
    # Until somebody has decided, the configuration stays as well.
    assert {"vda": str(ours)} == disks(host, name, "--inactive")
    assert "no disk" == live(host, name).findtext("title")

    host.virsh("detach-disk", name, "vda", "--live")
    console.wait_for(r"^GUEST cpus=0 blk=- ")
    reconvirt.apply()
    assert_settled(reconvirt)


def test_spare_ports_take_hotplugged_disks(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Three ports take three disks while a q35 machine runs; what finds none waits."""
    name = unique_name()
    images = [disk(host.image(f"{name}-{each}"), f"vd{each}") for each in "abcd"]
    desired.manifest(name, **Q35, devices={"consoles": [], "spare_ports": 3})
    reconvirt.apply()
    assert_settled(reconvirt)

    desired.manifest(name, **Q35, devices={"consoles": [], "spare_ports": 3, "disks": images[:3]})
    report = reconvirt.apply()

    assert 3 == verbs(report).count("attach")
    assert {"vda", "vdb", "vdc"} == set(disks(host, name))
    placed = addresses(config(host, name))
    for target in disks(host, name):
        assert placed[target] == addresses(live(host, name))[target]
    assert_settled(reconvirt)

    desired.manifest(name, **Q35, devices={"consoles": [], "spare_ports": 3, "disks": images})
    report = outcome(reconvirt.apply(status=3))

    (waits,) = report["waiting"]
    assert "devices.disks[vdd]" == waits["field"]
    assert "libvirt cannot do it while it runs" in waits["reason"]
    assert_settled(reconvirt, waiting=("devices.disks[vdd]",))
    host.virsh("destroy", name)
    reconvirt.apply()
    assert {"vda", "vdb", "vdc", "vdd"} == set(disks(host, name))
    assert_settled(reconvirt)
