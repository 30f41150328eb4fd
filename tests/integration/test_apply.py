"""The commands on a real libvirt: what they print, what they change, and what virsh then says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from testbed import (
    Desired,
    LibvirtHost,
    Reconvirt,
    addresses,
    assert_settled,
    config,
    disk,
    interface,
    live,
    verbs,
)

Name = Callable[..., str]


@pytest.mark.usefixtures("cpu_controller")
def test_a_second_apply_writes_nothing(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """After apply the plan is empty, and another apply only reads."""
    name = unique_name()
    desired.manifest(
        name,
        vcpu={"maximum": 3, "current": 2},
        cputune={"shares": 2048},
        iothreads=1,
        devices={"disks": [disk(host.image(f"{name}-a"), "vda", iothread=1)]},
    )

    first = reconvirt.apply()
    plan = reconvirt.plan()
    second = reconvirt.apply()

    assert ["define", "start"] == verbs(first)
    assert 2 == first["calls"]["writing"]
    assert [] == plan["virtualServers"][0]["steps"]
    assert 0 == second["calls"]["writing"]
    assert second["calls"]["reading"] > 0
    assert "running" == host.virsh("domstate", name).strip()
    assert re.search(r"cpu_shares\s*: 2048", host.virsh("schedinfo", "--live", name))
    assert "2" == host.virsh("vcpucount", "--live", "--current", name).strip()
    assert "3" == host.virsh("vcpucount", "--config", "--maximum", name).strip()
    assert "vda" in host.virsh("domblklist", name)


@pytest.mark.usefixtures("cpu_controller")
def test_a_running_guest_changes_live(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, bridge: str
) -> None:
    """vCPUs, CPU weight, I/O threads, a disk and an interface come and go while it runs."""
    name, mac = unique_name(), "52:54:00:0a:0b:0c"
    first = disk(host.image(f"{name}-a"), "vda")
    more = disk(host.image(f"{name}-b", "32M", "raw"), "vdb", kind="raw", iothread=2)
    desired.manifest(name, devices={"disks": [first]})
    reconvirt.apply()
    console = host.console(name)
    console.wait_for(r"^GUEST cpus=0 blk=vda:64MiB net=-")

    desired.manifest(
        name,
        vcpu={"maximum": 2, "current": 2},
        cputune={"shares": 512},
        iothreads=2,
        on_reboot="destroy",
        devices={"disks": [first, more], "interfaces": [interface(bridge, mac)]},
    )
    grown = reconvirt.apply()

    expected = [
        *("record", "define", "add-iothread", "add-iothread"),
        *("set-vcpus", "set-parameter", "set-lifecycle-action", "attach", "attach"),
    ]
    assert expected == verbs(grown)
    console.wait_for(rf"^GUEST cpus=0-1 blk=vda:64MiB,vdb:32MiB net=\w+[^ ]*{mac}")
    assert addresses(config(host, name)) == addresses(live(host, name))
    assert re.search(r"cpu_shares\s*: 512", host.virsh("schedinfo", "--live", name))
    assert re.search(r"cpu_shares\s*: 512", host.virsh("schedinfo", "--config", name))
    assert {"1", "2"} == set(re.findall(r"^ (\d)", host.virsh("iothreadinfo", name), re.MULTILINE))
    before = addresses(live(host, name))

    desired.manifest(name, vcpu={"maximum": 2, "current": 2}, devices={"disks": [first]})
    reconvirt.apply(status=3)

    console.wait_for(r"^GUEST cpus=0-1 blk=vda:64MiB net=-")
    assert "" == host.virsh("domiflist", name).strip().partition("\n")[2].strip("-\n ")
    assert [] == re.findall(r"^ (\d)", host.virsh("iothreadinfo", name), re.MULTILINE)
    assert {"vda": before["vda"]} == addresses(live(host, name)) == addresses(config(host, name))
    assert "restart" == live(host, name).findtext("on_reboot")


def test_what_cannot_be_live_waits_for_a_restart(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Fewer vCPUs, a new maximum and memory are in the configuration; apply exits with 3."""
    name = unique_name()
    desired.manifest(name, vcpu={"maximum": 2, "current": 2})
    reconvirt.apply()
    desired.manifest(
        name, vcpu={"maximum": 4, "current": 1}, memory="256 MiB", cputune={"shares": 99}
    )

    report = reconvirt.apply(status=3)
    plan = reconvirt.plan(status=2)

    waiting = {each["field"]: each for each in plan["virtualServers"][0]["waiting"]}
    assert ["memory.size", "vcpu.maximum", "vcpu.current"] == list(waiting)
    assert ("192 MiB", "256 MiB") == (waiting["memory.size"]["old"], waiting["memory.size"]["new"])
    assert "s390x" in waiting["vcpu.current"]["reason"]
    assert "set-parameter" in verbs(report)
    assert "262144" == config(host, name).findtext("memory")
    assert "196608" == live(host, name).findtext("memory")

    host.virsh("destroy", name)
    reconvirt.apply()

    assert "262144" == live(host, name).findtext("memory")
    assert [] == reconvirt.plan()["virtualServers"][0]["waiting"]


def test_shut_off_asks_the_guest(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """The guest says goodbye by itself, and apply waits for it."""
    name = unique_name()
    desired.manifest(name)
    reconvirt.apply()
    host.console(name).wait_for(r"^GUEST cpus=0")

    desired.manifest(name, state="shutoff")
    report = reconvirt.apply()

    assert ["converged"] == [each["phase"] for each in report["virtualServers"]]
    host.console(name).wait_for("GUEST-DOWN")
    assert "shut off" == host.virsh("domstate", name).strip()


def test_names_choose(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Only the named virtual servers are touched."""
    one, other = unique_name(), unique_name()
    for name in (one, other):
        desired.manifest(name, state="shutoff")

    reconvirt.apply(one)

    assert [one] == [name for name in host.names() if name in (one, other)]
    reconvirt("apply", "no-such-name", status=1)


def test_one_bad_manifest_stops_no_other(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """The good ones are applied; the bad one is told, and the exit code is 1."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    bad = desired.path / "bad.yaml"
    bad.write_text("apiVersion: reconvirt/v1\nkind: VirtualServer\nmetadata: {nmae: x}\nspec: {}\n")

    report = reconvirt.apply(status=1)

    assert name in host.names()
    problem = report["problems"][0]
    assert (str(bad), 3) == (problem["file"], problem["line"])


def test_what_libvirt_rejects_is_told_and_the_others_go_on(
    desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A machine that QEMU does not have is libvirt's word against the manifest."""
    good, bad = unique_name(), unique_name()
    desired.manifest(good, state="shutoff")
    desired.manifest(bad, os={"arch": "s390x", "machine": "no-such-machine"})

    report = reconvirt.apply(status=1)

    outcomes = {each["name"]: each for each in report["virtualServers"]}
    assert "converged" == outcomes[good]["phase"]
    assert "failed" == outcomes[bad]["phase"]
    assert "no-such-machine" in outcomes[bad]["message"]


def test_a_stranger_is_not_touched_until_its_uuid_is_stated(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A virtual server that somebody else made is taken over only on purpose."""
    name, uuid = unique_name(), "6a9a0a0e-3a9f-4b1c-8a54-0a1b2c3d4e5f"
    host.define(
        f"<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>192</memory>"
        "<vcpu>2</vcpu><title>by hand</title><os><type arch='s390x'>hvm</type></os></domain>"
    )
    before = host.virsh("dumpxml", name)
    desired.manifest(name, state="shutoff")

    refused = reconvirt.apply(status=1)

    assert uuid in refused["virtualServers"][0]["message"]
    assert before == host.virsh("dumpxml", name)

    desired.manifest(name, state="shutoff", metadata={"uuid": uuid})
    reconvirt.apply()

    assert "by hand" == config(host, name).findtext("title")
    assert uuid == config(host, name).findtext("uuid")


def test_a_removed_manifest_ends_the_management_only(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """The virtual server runs on, and get says that nobody cares for it."""
    name = unique_name()
    desired.manifest(name)
    reconvirt.apply()
    desired.remove(name)

    reconvirt.apply()

    assert "running" == host.virsh("domstate", name).strip()
    rows = {row["name"]: row for row in reconvirt.json("get")["virtualServers"]}
    assert "not managed" == rows[name]["phase"]
    assert "manifest" in rows[name]["message"]


def test_a_device_plugged_by_hand_keeps_its_address(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A new disk gets one device number for now and for the next start, and takes no other's."""
    name = unique_name()
    first = disk(host.image(f"{name}-a"), "vda")
    desired.manifest(name, devices={"disks": [first]})
    reconvirt.apply()
    host.virsh(
        "attach-disk", name, host.image(f"{name}-h"), "vdh", "--subdriver", "qcow2", "--live"
    )
    by_hand = addresses(live(host, name))["vdh"]

    more = disk(host.image(f"{name}-b"), "vdb")
    desired.manifest(name, devices={"disks": [first, more]})
    reconvirt.apply()

    now = addresses(live(host, name))
    assert by_hand == now["vdh"]
    assert now["vdb"] == addresses(config(host, name))["vdb"]
    assert now["vdb"] != by_hand


def test_the_devices_of_others_stay(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, bridge: str
) -> None:
    """What a manifest never stated is not removed, nor moved, when the manifest changes."""
    name = unique_name()
    desired.manifest(name, devices={"disks": [disk(host.image(f"{name}-a"), "vda")]})
    reconvirt.apply()
    host.virsh("attach-interface", name, "bridge", bridge, "--model", "virtio", "--persistent")
    before = addresses(config(host, name))

    desired.manifest(name, cputune={"shares": 77})
    reconvirt.apply()

    after = addresses(config(host, name))
    before.pop("vda")
    assert before == after == addresses(live(host, name))


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_x86_is_planned_without_false_differences(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, machine: str
) -> None:
    """All that libvirt adds to a virtual server of x86 is no difference; a disk is hotplugged."""
    name = unique_name()
    hardware = {
        "os": {"arch": "x86_64", "machine": machine},
        "on_crash": "preserve",
    }
    log = {"file": str(host.console_log(name)), "append": "on"}
    consoles = {"consoles": [{"target": {"type": "serial"}, "log": log}]}
    desired.manifest(name, **hardware, devices=consoles)
    reconvirt.apply()

    assert [] == reconvirt.plan()["virtualServers"][0]["steps"]

    extra = {"disks": [disk(host.image(f"{name}-a"), "vda")]}
    desired.manifest(name, **hardware, devices={**consoles, **extra})
    report = reconvirt.apply()

    assert ["record", "define", "attach"] == verbs(report)
    assert "vda" in host.virsh("domblklist", name)
    assert addresses(config(host, name)) == addresses(live(host, name))


def test_get_shows_what_is(desired: Desired, reconvirt: Reconvirt, unique_name: Name) -> None:
    """The same in a table, in JSON and in YAML; in colour only on a terminal."""
    name = unique_name()
    desired.manifest(name, state="shutoff")

    before = reconvirt.json("get", name)["virtualServers"][0]
    reconvirt.apply()
    after = reconvirt.json("get", name)["virtualServers"][0]
    table = reconvirt("get", name, "-o", "wide")

    assert (None, "differs") == (before["state"], before["phase"])
    assert ("shut off", "converged", "192 MiB") == (after["state"], after["phase"], after["memory"])
    assert re.search(rf"^{name} +shut off +converged +1/2 +192 MiB", table, re.MULTILINE)
    assert "\x1b" not in table
    assert f"name: {name}" in reconvirt("get", name, "-o", "yaml")
    reconvirt("get", "no-such-name", status=1)


def test_render_is_what_would_be_defined(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Of a file a new domain, without libvirt; of a name the current one with the changes."""
    name = unique_name()
    path = desired.manifest(name, state="shutoff")

    new = ET.fromstring(reconvirt("render", path))
    reconvirt.apply()
    desired.manifest(name, state="shutoff", memory="256 MiB")
    patched = ET.fromstring(reconvirt("render", name))

    assert (name, "196608") == (new.findtext("name"), new.findtext("memory"))
    assert "262144" == patched.findtext("memory")
    assert config(host, name).find("devices/emulator").text == patched.findtext("devices/emulator")


def test_without_libvirt_there_is_an_error_and_no_traceback(reconvirt: Reconvirt) -> None:
    """Exit code 1, and what to look at."""
    output = reconvirt("plan", "--connect", "qemu+unix:///system?socket=/nowhere", status=1)

    assert "Is libvirtd (or virtqemud) running" in output
    assert "Traceback" not in output


def test_a_change_that_is_taken_back_waits_no_longer(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """libvirt shows the CPU that runs otherwise than it was stated: the mark knows it."""
    name = unique_name()
    machine = {"os": {"arch": "x86_64", "machine": "q35"}, "memory": "64 MiB", "vcpu": 1}
    machine |= {"devices": {"consoles": []}}
    before, after = {"mode": "host-model"}, {"mode": "maximum"}
    desired.manifest(name, **machine, cpu=before)
    reconvirt.apply()
    assert_settled(reconvirt)
    assert "custom" == live(host, name).find("cpu").get("mode")

    desired.manifest(name, **machine, cpu=after)
    reconvirt.apply(status=3)
    assert_settled(reconvirt, waiting=("cpu.mode",))

    desired.manifest(name, **machine, cpu=before)
    reconvirt.apply()
    assert_settled(reconvirt)
