"""What changes on devices while they are plugged in, and devices for the running guest only."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from testbed import (
    Desired,
    LibvirtHost,
    NotSeen,
    Reconvirt,
    VirshError,
    addresses,
    assert_settled,
    config,
    disk,
    disks,
    interface,
    live,
    outcome,
    sees_disks,
    switch_interface,
    verbs,
    wait_until,
)
from testbed.lacks import Lack, skip

Name = Callable[..., str]

MAC = "52:54:00:0a:0d:01"


def block_limits(host: LibvirtHost, name: str, where: str) -> dict[str, int]:
    """The limits of vda that are not 0."""
    listed = re.findall(
        r"^(\w+)\s*: (\d+)$", host.virsh("blkdeviotune", name, "vda", where), re.MULTILINE
    )
    return {key: int(value) for key, value in listed if int(value)}


def network_limits(host: LibvirtHost, name: str, where: str) -> dict[str, int]:
    """The limits of the only interface that are not 0."""
    listed = re.findall(
        r"^([\w.]+)\s*: (\d+)$", host.virsh("domiftune", name, MAC, where), re.MULTILINE
    )
    return {key: int(value) for key, value in listed if int(value)}


def memory(host: LibvirtHost, name: str) -> int:
    """The KiB that the guest has left of its memory."""
    found = re.search(r"^actual (\d+)$", host.virsh("dommemstat", name), re.MULTILINE)
    assert found is not None
    return int(found.group(1))


def test_an_interface_is_changed_while_it_is_plugged_in(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, bridge: str
) -> None:
    """Its cable is pulled, it moves to another bridge and back, and its bandwidth is limited."""
    name, other = unique_name(), host.bridge()
    nic = interface(bridge, MAC)
    desired.manifest(name, devices={"interfaces": [nic]})
    reconvirt.apply()
    host.console(name).wait_for(rf"^GUEST cpus=0 blk=- net=eth0/{MAC} ")
    before = addresses(live(host, name))

    desired.manifest(name, devices={"interfaces": [{**nic, "link": {"state": "down"}}]})
    report = reconvirt.apply()

    assert ["record", "define", "update"] == verbs(report)
    assert host.virsh("domif-getlink", name, MAC).endswith("down")
    assert host.virsh("domif-getlink", name, MAC, "--config").endswith("down")
    assert_settled(reconvirt)

    desired.manifest(name, devices={"interfaces": [interface(other, MAC)]})
    reconvirt.apply()

    assert host.virsh("domif-getlink", name, MAC).endswith("up")
    tap = live(host, name).find("devices/interface/target").get("dev")
    for layer in (live(host, name), config(host, name)):
        assert other == layer.find("devices/interface/source").get("bridge")
    assert tap in host.virsh("domiflist", name)
    assert before == addresses(live(host, name)) == addresses(config(host, name))
    assert_settled(reconvirt)

    assert 1 == host.console(name).text.count(f"eth0/{MAC}")  # it was never unplugged


def test_bandwidth_is_limited_while_it_is_plugged_in(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, switch: str
) -> None:
    """Limits are set, changed and lifted on a running interface; the switch has them."""
    name = unique_name()
    nic = switch_interface(switch, MAC)
    desired.manifest(name, devices={"interfaces": [nic]})
    reconvirt.apply()
    port = host.ovs("list-ports", switch)

    stages: tuple[dict[str, Any], ...] = (
        {"inbound": {"average": 1000, "peak": 2000}, "outbound": {"average": 500}},
        {"outbound": {"average": 700}},
        {},
    )
    for limits in stages:
        desired.manifest(
            name, devices={"interfaces": [{**nic, "bandwidth": limits} if limits else nic]}
        )
        report = reconvirt.apply()

        expected = {f"{way}.{key}": n for way in limits for key, n in limits[way].items()}
        assert "limit-interface" in verbs(report)
        assert expected == network_limits(host, name, "--live")
        assert expected == network_limits(host, name, "--config")
        rate = limits.get("outbound", {}).get("average", 0) * 8
        assert str(rate) == host.ovs("get", "interface", port, "ingress_policing_rate")
        assert_settled(reconvirt)
    assert port == host.ovs("list-ports", switch)


def test_a_disk_is_limited_while_it_is_plugged_in(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """I/O limits are set, changed, lifted one by one and as a whole."""
    name = unique_name()
    plain = disk(host.image(f"{name}-a", "16M"), "vda")
    desired.manifest(name, devices={"disks": [plain]})
    reconvirt.apply()
    host.console(name).wait_for(sees_disks("16MiB"))

    stages = (
        {"total_bytes_sec": 1000000, "read_iops_sec": 300},
        {"total_bytes_sec": 2000000, "read_iops_sec": 300},
        {"total_bytes_sec": 2000000, "write_iops_sec": 100},
        {"total_iops_sec": 50},
        {},
    )
    for limits in stages:
        stated = {**plain, "iotune": limits} if limits else plain
        desired.manifest(name, devices={"disks": [stated]})
        report = reconvirt.apply()

        assert "throttle" in verbs(report)
        assert limits == block_limits(host, name, "--live")
        assert limits == block_limits(host, name, "--config")
        assert_settled(reconvirt)
    assert live(host, name).find("devices/disk/iotune") is None
    assert config(host, name).find("devices/disk/iotune") is None


def test_a_controller_goes_after_its_disk(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A SCSI controller and its disk are plugged and unplugged in one go each, I/O thread too."""
    name = unique_name()
    desired.manifest(name)
    reconvirt.apply()
    console = host.console(name)
    console.wait_for(r"^GUEST cpus=0 blk=- net=- cd=- rng=- scsi=0 ")

    scsi = disk(host.image(f"{name}-a", "24M"), "sda")
    scsi["target"]["bus"] = "scsi"
    controller = {
        "type": "scsi",
        "index": 0,
        "model": "virtio-scsi",
        "driver": {"iothread": 1},
    }
    devices = {"controllers": [controller], "disks": [scsi]}
    desired.manifest(name, iothreads=1, devices=devices)
    report = reconvirt.apply()

    assert ["record", "define", "add-iothread", "attach", "attach"] == verbs(report)
    console.wait_for(r"^GUEST cpus=0 blk=sda:24MiB net=- cd=- rng=- scsi=1 ")
    assert addresses(config(host, name)) == addresses(live(host, name))
    assert_settled(reconvirt)

    desired.manifest(name)
    report = reconvirt.apply()

    console.wait_for(r"^GUEST cpus=0 blk=- net=- cd=- rng=- scsi=0 ")
    assert 2 == verbs(report).count("detach")
    assert "delete-iothread" in verbs(report)
    asked = [s for s in outcome(report)["steps"] if s["action"] == "detach"]
    fields = [step["changes"][0]["field"] for step in asked]
    assert ["devices.disks[sda]", "devices.controllers[scsi/0#1]"] == fields
    assert [] == live(host, name).findall("devices/controller[@type='scsi']")
    assert [] == config(host, name).findall("devices/controller[@type='scsi']")
    assert_settled(reconvirt)


def test_the_guest_gives_memory_back(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """currentMemory fills and empties the guest's balloon; without one it waits."""
    name = unique_name()
    balloon = {"memballoon": {"model": "virtio"}}
    desired.manifest(name, devices=balloon)
    reconvirt.apply()
    host.console(name).wait_for(r"^GUEST cpus=0 ")
    assert 192 * 1024 == memory(host, name)

    for size in (160, 176):
        desired.manifest(name, currentMemory=f"{size} MiB", devices=balloon)
        report = reconvirt.apply()

        assert "set-memory" in verbs(report)
        wait_until(lambda size=size: memory(host, name) == size * 1024, 30, "the guest to follow")
        assert str(size * 1024) == config(host, name).findtext("currentMemory")
        assert_settled(reconvirt)

    desired.manifest(name, currentMemory="256 MiB", memory="256 MiB", devices=balloon)
    report = outcome(reconvirt.apply(status=3))

    reasons = {each["field"]: each["reason"] for each in report["waiting"]}
    assert ["memory.size", "currentMemory"] == list(reasons)
    assert "less memory" in reasons["currentMemory"]
    assert 176 * 1024 == memory(host, name)


def test_words_and_reactions_change_at_once(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Title, description and lifecycle actions: stated, changed and stated no longer."""
    name = unique_name()
    desired.manifest(name, title="One", on_reboot="destroy")
    reconvirt.apply()

    changed = {
        "title": "Two",
        "description": "Two lines:\nthis is the second.",
        "on_reboot": "restart",
        "on_crash": "preserve",
        "on_poweroff": "restart",
    }
    desired.manifest(name, **changed)
    reconvirt.apply()

    for layer in (live(host, name), config(host, name)):
        assert changed == {key: layer.findtext(key) for key in changed}
    assert_settled(reconvirt)

    desired.manifest(name)
    reconvirt.apply()

    usual = {"on_reboot": "restart", "on_crash": "destroy", "on_poweroff": "destroy"}
    for layer in (live(host, name), config(host, name)):
        assert usual == {key: layer.findtext(key) for key in usual}
        assert layer.find("title") is None
        assert layer.find("description") is None
    assert_settled(reconvirt)


@pytest.mark.usefixtures("cpu_controller")
def test_tuning_of_the_host_changes_at_once(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """CPU quotas and memory limits are those of the control groups; unset they wait."""
    name = unique_name()
    desired.manifest(name, cputune={"shares": 300})
    reconvirt.apply()
    tuned = {"shares": 300, "period": 50000, "quota": 40000, "emulator_quota": 30000}
    memtune = {"hard_limit": "2 GiB", "soft_limit": "1 GiB"}
    try:
        host.virsh("memtune", name, "--soft-limit", "4194304", "--live")
    except VirshError as error:
        if "cgroup" not in str(error):
            raise
        skip(Lack.MEMORY_GROUPS)

    desired.manifest(name, cputune=tuned, memtune=memtune)
    report = reconvirt.apply()

    assert 5 == verbs(report).count("set-parameter")
    for where in ("--live", "--config"):
        said = host.virsh("schedinfo", name, where)
        for key, value in {
            "cpu_shares": 300,
            "vcpu_period": 50000,
            "vcpu_quota": 40000,
            "emulator_quota": 30000,
        }.items():
            assert re.search(rf"^{key}\s*: {value}$", said, re.MULTILINE), (where, key)
        limits = host.virsh("memtune", name, where)
        assert re.search(r"^hard_limit\s*: 2097152$", limits, re.MULTILINE)
        assert re.search(r"^soft_limit\s*: 1048576$", limits, re.MULTILINE)
    assert_settled(reconvirt)

    desired.manifest(name, cputune={"shares": 300})
    report = outcome(reconvirt.apply(status=3))

    assert {"cputune.quota", "memtune.hard_limit"} <= {e["field"] for e in report["waiting"]}
    assert config(host, name).find("memtune") is None


def test_a_hotplug_device_is_no_part_of_the_configuration(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """It is plugged in again after each start, and moves nowhere when it becomes persistent."""
    name = unique_name()
    first, second = host.image(f"{name}-a", "16M"), host.image(f"{name}-b", "24M")
    own, passing = disk(first, "vda"), {**disk(second, "vdb"), "persistent": False}
    desired.manifest(name, devices={"disks": [own, passing]})
    reconvirt.apply()
    console = host.console(name)
    console.wait_for(sees_disks("16MiB", "24MiB"))
    assert {"vda", "vdb"} == set(disks(host, name))
    assert {"vda"} == set(disks(host, name, "--inactive"))
    assert_settled(reconvirt)

    host.virsh("destroy", name)
    host.virsh("start", name)
    assert {"vda"} == set(disks(host, name))
    console.wait_for(sees_disks("16MiB"))
    report = reconvirt.apply()
    assert "attach" in verbs(report)
    console.wait_for(sees_disks("16MiB", "24MiB"))
    address = addresses(live(host, name))["vdb"]

    desired.manifest(name, devices={"disks": [own, disk(second, "vdb")]})
    report = reconvirt.apply()
    assert "attach" not in verbs(report)
    assert address == addresses(live(host, name))["vdb"] == addresses(config(host, name))["vdb"]
    assert_settled(reconvirt)

    desired.manifest(name, devices={"disks": [own, passing]})
    report = reconvirt.apply()
    assert "detach" not in verbs(report)
    assert {"vda", "vdb"} == set(disks(host, name))
    assert {"vda"} == set(disks(host, name, "--inactive"))
    assert_settled(reconvirt)
    with pytest.raises(NotSeen):
        console.wait_for(r"^GUEST ", timeout=1)  # the guest has seen nothing of all this

    with reconvirt.run() as daemon:
        host.virsh("destroy", name)
        daemon.wait_for("step done", virtual_server=name, step="attach")
        console.wait_for(sees_disks("16MiB", "24MiB"))

        desired.manifest(name, devices={"disks": [own]})
        console.wait_for(sees_disks("16MiB"))
    assert {"vda"} == set(disks(host, name))
