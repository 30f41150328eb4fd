"""Whose a device is: what was attached by hand, what was stated once, and what is taken over."""

from __future__ import annotations

from collections.abc import Callable

from testbed import (
    Desired,
    LibvirtHost,
    Reconvirt,
    assert_settled,
    config,
    disk,
    disks,
    interface,
    live,
    outcome,
    sees_disks,
    wait_until,
)

Name = Callable[..., str]

MAC, BY_HAND = "52:54:00:0a:0e:01", "52:54:00:0a:0e:02"
DETACH = {"unlisted": "detach"}


def macs(host: LibvirtHost, name: str) -> tuple[list[str], list[str]]:
    """The MAC addresses of what runs, and of the configuration."""
    running, configured = (
        [each.get("address", "") for each in layer(host, name).findall("devices/interface/mac")]
        for layer in (live, config)
    )
    return running, configured


def test_what_was_attached_by_hand_is_told_and_only_on_request_detached(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, bridge: str
) -> None:
    """A disk of what runs and an interface of both: reported, left alone, and then taken away."""
    name = unique_name()
    ours = disk(host.image(f"{name}-ours", "16M"), "vda")
    devices = {"disks": [ours], "interfaces": [interface(bridge, MAC)]}
    desired.manifest(name, devices=devices)
    reconvirt.apply()
    console = host.console(name)
    console.wait_for(sees_disks("16MiB"))
    theirs = host.image(f"{name}-theirs", "24M")
    host.virsh("attach-disk", name, theirs, "vdb", "--subdriver", "qcow2", "--live")
    host.virsh(
        *("attach-interface", name, "bridge", bridge, "--mac", BY_HAND),
        *("--model", "virtio", "--live", "--config"),
    )
    console.wait_for(rf"^GUEST .*net=eth0/{MAC},eth1/{BY_HAND} ")

    plan = outcome(reconvirt.plan())  # exit code 0
    table = reconvirt("plan")

    drift = {"devices.disks[vdb]", f"devices.interfaces[{BY_HAND}]"}
    assert drift == {each["field"] for each in plan["unlisted"]}
    assert [] == plan["steps"] == plan["waiting"] == plan["refused"]
    assert "unlisted" in table
    assert str(theirs) in table
    told = outcome(reconvirt.apply())
    assert "converged" == told["phase"]
    assert "attached by hand" in told["message"]
    assert "devices.disks[vdb]" in reconvirt("get", name, "-o", "wide")

    # It stays where it is when other things change.
    desired.manifest(name, title="changed", devices=devices)
    reconvirt.apply()
    assert {"vda", "vdb"} == set(disks(host, name))
    assert [MAC, BY_HAND] == macs(host, name)[0] == macs(host, name)[1]

    desired.manifest(name, title="changed", policy=DETACH, devices=devices)
    shown = outcome(reconvirt.plan(status=2))
    reconvirt.apply()

    assert drift == {
        change["field"]
        for step in shown["steps"]
        if step["action"] == "detach"
        for change in step["changes"]
    }
    console.wait_for(rf"^GUEST cpus=0 blk=vda:16MiB net=eth0/{MAC} ")
    assert {"vda"} == set(disks(host, name))
    assert ([MAC], [MAC]) == macs(host, name)
    assert theirs.exists()
    assert_settled(reconvirt)


def test_the_daemon_takes_away_what_is_attached_by_hand(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, bridge: str
) -> None:
    """With that policy soon after it was attached, by libvirt's event."""
    name = unique_name()
    desired.manifest(name, policy=DETACH)
    with reconvirt.run() as daemon:
        host.console(name).wait_for(r"^GUEST cpus=0 blk=- net=- ")

        host.virsh("attach-interface", name, "bridge", bridge, "--mac", BY_HAND, "--live")

        step = daemon.wait_for("step asked", virtual_server=name, step="detach")
        assert f"devices.interfaces[{BY_HAND}]" == step["field"]
        assert (bridge, None) == (step["old"], step.get("new"))
        wait_until(lambda: macs(host, name) == ([], []), 10, "the interface to go")
    assert ([], []) == macs(host, name)


def test_what_is_stated_no_longer_goes_only_if_it_was_ours(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Elements and devices that were applied are removed; those of others stay."""
    name = unique_name()
    host.define(
        f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>192</memory><vcpu>2</vcpu>"
        "<title>theirs</title><on_crash>preserve</on_crash>"
        "<os><type arch='s390x'>hvm</type></os><devices>"
        f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{host.image(name)}'/>"
        "<target dev='vda' bus='virtio'/></disk><rng model='virtio'>"
        "<backend model='random'>/dev/urandom</backend></rng></devices></domain>"
    )
    uuid = {"uuid": host.virsh("domuuid", name)}
    own = disk(host.image(f"{name}-own"), "vdb")
    channel = {"target": {"name": "org.qemu.guest_agent.0"}}
    desired.manifest(
        name,
        state="shutoff",
        metadata=uuid,
        description="ours",
        on_poweroff="restart",
        xml="<domain><memoryBacking><nosharepages/></memoryBacking></domain>",
        devices={"disks": [own], "channels": [channel]},
    )
    reconvirt.apply()
    assert {"vda", "vdb"} == set(disks(host, name))
    assert_settled(reconvirt)

    desired.manifest(name, state="shutoff", metadata=uuid)
    reconvirt.apply()

    left = config(host, name)
    assert {"vda"} == set(disks(host, name))
    assert (None, "destroy") == (left.findtext("description"), left.findtext("on_poweroff"))
    assert left.find("memoryBacking") is None
    assert left.find("devices/channel") is None
    assert ("theirs", "preserve") == (left.findtext("title"), left.findtext("on_crash"))
    assert left.find("devices/rng") is not None
    assert_settled(reconvirt)
