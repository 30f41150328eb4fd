"""Devices that come to a booted guest and go, by nothing but an edited manifest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed import (
    Desired,
    LibvirtHost,
    Reconvirt,
    addresses,
    assert_settled,
    cdrom,
    config,
    direct_interface,
    disk,
    disks,
    interface,
    live,
    outcome,
    sees_interfaces,
    switch_interface,
    verbs,
    wait_until,
)

Name = Callable[..., str]

MAC = "52:54:00:0d:0e:0"
RNG = {"backend": {"model": "random", "source": "/dev/urandom"}}
CONTROLLER = {"type": "scsi", "index": 0, "model": "virtio-scsi"}


def interfaces(host: LibvirtHost, name: str) -> dict[str, tuple[str, str]]:
    """Type and source of the interfaces, by MAC address."""
    rows = (line.split() for line in host.virsh("domiflist", name).splitlines())
    return {row[4]: (row[1], row[2]) for row in rows if len(row) == 5}


def test_devices_come_and_go_while_the_guest_runs(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    bridge: str,
    switch: str,
    macvtap_parent: str,
) -> None:
    """A disk, three kinds of interfaces, a generator and a CD: seen by the guest, and gone."""
    name = unique_name()
    first, second = (host.iso(f"{name}-{label}.iso", label) for label in ("FIRST", "SECOND"))
    empty: dict[str, Any] = {"controllers": [CONTROLLER]}
    desired.manifest(name, devices={**empty, "disks": [cdrom(first, "sda")]})
    reconvirt.apply()
    console = host.console(name)
    console.wait_for(r"^GUEST cpus=0 blk=sr0:\w+ net=- cd=FIRST rng=- scsi=1 uptime=\d+$")
    assert_settled(reconvirt)

    image = host.image(f"{name}-a", "32M")
    more = {
        **empty,
        "interfaces": [
            interface(bridge, f"{MAC}1"),
            direct_interface(macvtap_parent, f"{MAC}2"),
            switch_interface(switch, f"{MAC}3"),
        ],
        "rngs": [RNG],
    }
    desired.manifest(name, devices={**more, "disks": [cdrom(second, "sda"), disk(image, "vda")]})
    report = reconvirt.apply()

    expected = ["record", "define", "attach", "attach", "attach", "attach", "attach", "update"]
    assert expected == verbs(report)
    nics = sees_interfaces(*(f"{MAC}{number}" for number in (1, 2, 3)))
    console.wait_for(rf"^GUEST cpus=0 blk=sr0:\w+,vda:32MiB {nics} cd=SECOND rng=virtio_rng.0 ")
    assert {"sda": str(second), "vda": str(image)} == disks(host, name)
    assert {
        f"{MAC}1": ("bridge", bridge),
        f"{MAC}2": ("direct", macvtap_parent),
        f"{MAC}3": ("bridge", switch),
    } == interfaces(host, name)
    assert 1 == len(host.ovs("list-ports", switch).split())
    assert "bridge" == live(host, name).find("devices/interface[@type='direct']/source").get("mode")
    assert addresses(config(host, name)) == addresses(live(host, name))
    assert_settled(reconvirt)

    desired.manifest(name, devices={**more, "disks": [cdrom(None, "sda"), disk(image, "vda")]})
    reconvirt.apply()
    console.wait_for(r"^GUEST .* cd=- ")
    assert {"sda": "-", "vda": str(image)} == disks(host, name) == disks(host, name, "--inactive")
    assert_settled(reconvirt)

    desired.manifest(name, devices={**empty, "disks": [cdrom(first, "sda")]})
    report = reconvirt.apply()

    assert ["detach"] * 5 == [verb for verb in verbs(report) if verb == "detach"]
    console.wait_for(r"^GUEST cpus=0 blk=sr0:\w+ net=- cd=FIRST rng=- scsi=1 ")
    assert {"sda": str(first)} == disks(host, name) == disks(host, name, "--inactive")
    assert {} == interfaces(host, name)
    wait_until(lambda: host.ovs("list-ports", switch) == "", 10, "the switch's port to go")
    assert addresses(config(host, name)) == addresses(live(host, name))
    assert_settled(reconvirt)
    assert 1 == console.text.count("GUEST-UP")


def test_the_daemon_follows_each_edit(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, switch: str
) -> None:
    """The same by the running daemon: in, changed and out, each seen on the guest's console."""
    name = unique_name()
    disc, image = host.iso(f"{name}.iso", "DISC"), host.image(f"{name}-a", "16M")
    few: dict[str, Any] = {"controllers": [CONTROLLER], "disks": [cdrom(None, "sda")]}
    desired.manifest(name, devices=few)
    with reconvirt.run():
        console = host.console(name)
        console.wait_for(r"^GUEST cpus=0 blk=sr0:\w+ net=- cd=- rng=- scsi=1 ")

        nic = switch_interface(switch, f"{MAC}4")
        both = [cdrom(disc, "sda"), disk(image, "vda")]
        desired.manifest(name, devices={**few, "disks": both, "interfaces": [nic], "rngs": [RNG]})
        console.wait_for(rf"^GUEST .*,vda:16MiB net=eth0/{MAC}4 cd=DISC rng=virtio_rng.0 ")

        down = {**nic, "link": {"state": "down"}}
        desired.manifest(name, devices={**few, "interfaces": [down]})
        console.wait_for(rf"^GUEST cpus=0 blk=sr0:\w+ net=eth0/{MAC}4 cd=- rng=- ")
        wait_until(
            lambda: host.virsh("domif-getlink", name, f"{MAC}4").endswith("down"), 10, "the link"
        )

        # What was taken away by hand comes back.
        host.virsh("detach-interface", name, "bridge", "--mac", f"{MAC}4", "--live")
        wait_until(lambda: f"{MAC}4" in interfaces(host, name), 10, "the interface to come back")
    assert addresses(config(host, name)) == addresses(live(host, name))
    assert_settled(reconvirt)


def test_a_locked_tray_is_opened_only_by_force(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A guest that holds its drive open keeps the medium; policy.media: force changes it."""
    name = unique_name()
    first, second = (host.iso(f"{name}-{label}.iso", label) for label in ("HELD", "NEXT"))
    path = desired.manifest(name, devices={"disks": [cdrom(first, "sda")]})
    holding = path.read_text().replace("rdinit=/init", "rdinit=/init hold_tray=1")
    path.write_text(holding)
    reconvirt.apply()
    host.console(name).wait_for(r"^GUEST .* cd=HELD ")
    locked = '{"execute": "query-block"}'
    assert '"locked":true' in host.virsh("qemu-monitor-command", name, locked)

    changed = holding.replace(str(first), str(second))
    changed = changed.replace("spec:\n", "spec:\n  autostart: true\n")
    path.write_text(changed)
    report = outcome(reconvirt.apply(status=1))

    assert "failed" == report["phase"]
    assert "the guest has locked the drive's tray" in report["message"]
    assert "policy: {media: force}" in report["message"]
    assert {"sda": str(first)} == disks(host, name)
    assert {"sda": str(second)} == disks(host, name, "--inactive")
    assert "set-autostart" in [step["action"] for step in report["steps"]]
    assert name in host.virsh("list", "--name", "--autostart")

    path.write_text(changed.replace("spec:\n", "spec:\n  policy: {media: force}\n"))
    forced = reconvirt.apply()

    assert "update" in verbs(forced)
    assert {"sda": str(second)} == disks(host, name)
    host.console(name).wait_for(r"^GUEST .* cd=NEXT ")
    assert_settled(reconvirt)


def test_a_new_image_behind_a_target_is_another_disk(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """The source of a disk that is no drive waits for the next start, and says why."""
    name = unique_name()
    old, new = host.image(f"{name}-a", "16M"), host.image(f"{name}-b", "24M")
    desired.manifest(name, devices={"disks": [disk(old, "vda")]})
    reconvirt.apply()

    desired.manifest(name, devices={"disks": [disk(new, "vda")]})
    report = outcome(reconvirt.apply(status=3))

    (waits,) = report["waiting"]
    assert "devices.disks[vda].source.file" == waits["field"]
    assert "CD-ROM" in waits["reason"]
    assert_settled(reconvirt, waiting=("devices.disks[vda].source.file",))

    host.virsh("destroy", name)
    reconvirt.apply()
    assert {"vda": str(new)} == disks(host, name)
    assert_settled(reconvirt)
