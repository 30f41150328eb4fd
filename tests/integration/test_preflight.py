"""What stands against a migration, provoked for real."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from testbed import Two, block_disk, cdrom, disk, domain_xml, interface
from testbed.guest import Guest

Name = Callable[..., str]


def check(two: Two, name: str, status: int = 1, **spec: Any) -> str:
    """What stands against moving it, once it is there and paused."""
    spec = {"state": "paused", "host": "zhost1", **spec}
    two.desired.manifest(name, **spec)
    two.programs[0].apply(name)
    return two.programs[0]("migrate", "--check", name, "zhost2", status=status)


def test_a_bridge_is_missing(two: Two, unique_name: Name) -> None:
    """By its name."""
    bridge = two.hosts[0].bridge()

    said = check(
        two, unique_name(), devices={"interfaces": [interface(bridge, "52:54:00:00:15:02")]}
    )

    assert f"the destination has no interface {bridge}" in said


def test_a_disk_is_not_shared(two: Two, unique_name: Name) -> None:
    """Its image is neither in a shared directory nor to be copied."""
    name = unique_name()
    image = two.hosts[0].image(f"../local/{name}-a")

    said = check(two, name, devices={"disks": [disk(image, "vda")]})

    two.desired.manifest(
        name, state="paused", host="zhost2", devices={"disks": [disk(image, "vda")]}
    )
    assert "the image of vda" in two.programs[0]("plan", name, status=1)
    assert "the image of vda" in said
    assert "policy.migration.copied: [vda]" in said


def test_a_copied_disk_has_an_io_thread(two: Two, unique_name: Name) -> None:
    """Chapter 15's restriction."""
    name = unique_name()
    image = two.hosts[0].image(f"../local/{name}-a")

    said = check(
        two,
        name,
        iothreads=1,
        devices={"disks": [disk(image, "vda", iothread=1)]},
        policy={"migration": {"copied": ["vda"]}},
    )

    assert "vda cannot be copied: it has an I/O thread" in said


INCREMENTAL = {"migration": {"copied": ["vda"], "copy": "inc"}}


def test_an_incremental_copy_without_backing_image(two: Two, unique_name: Name) -> None:
    """Only all of it can be copied."""
    name = unique_name()
    image = two.hosts[0].image(f"../local/{name}-a")

    said = check(two, name, devices={"disks": [disk(image, "vda")]}, policy=INCREMENTAL)

    assert "vda has no backing image" in said
    assert "policy.migration.copy: all" in said


def test_an_incremental_copy_needs_its_backing_image_there(two: Two, unique_name: Name) -> None:
    """It is missing at the destination; then another one stands there; then the same."""
    name = unique_name()
    host, second = two.hosts
    base = host.image(f"../local/{name}-base", "64M", "raw")
    overlay = host.local / f"{name}-a"
    below = ("-b", str(base), "-F", "raw")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *below, overlay], check=True)
    there = second.directory / "local" / f"{name}-base"
    spec = {"devices": {"disks": [disk(overlay, "vda")]}, "policy": INCREMENTAL}

    missing = check(two, name, **spec)
    make = ("qemu-img", "create", "-q", "-f", "raw")
    subprocess.run([*make, there, "32M"], check=True)
    another = two.programs[0]("migrate", "--check", name, "zhost2", status=1)
    subprocess.run([*make, there, "64M"], check=True)

    path = host.local / f"{name}-base"
    assert f"{path}, is not at the destination" in missing.replace("images/../", "")
    assert "is another one at the destination: 33554432 bytes, and 67108864 here" in another
    assert "nothing stands against" in two.programs[0]("migrate", "--check", name, "zhost2")


def test_a_cd_is_to_be_copied(two: Two, unique_name: Name) -> None:
    """It can only be read."""
    name = unique_name()
    iso = two.hosts[0].iso(f"../local/{name}.iso", "CD")

    said = check(
        two,
        name,
        devices={
            "controllers": [{"type": "scsi", "index": 0, "model": "virtio-scsi"}],
            "disks": [cdrom(iso, "sda")],
        },
        policy={"migration": {"copied": ["sda"]}},
    )

    assert "sda cannot be copied: it is read-only" in said


def test_the_name_is_taken(two: Two, unique_name: Name, guest: Guest) -> None:
    """By a virtual server with another uuid."""
    name = unique_name()
    two.desired.manifest(name, state="paused", host="zhost1")
    two.programs[0].apply(name)
    two.hosts[1].define(domain_xml(name, guest, two.hosts[1].console_log(name)))

    said = two.programs[0]("migrate", "--check", name, "zhost2", status=1)

    assert "zhost2 has another virtual server of this name" in said


def test_a_block_device_is_missing(two: Two, unique_name: Name) -> None:
    """It is there under another name; under the same, nothing stands against it."""
    name = unique_name()
    host, second = two.hosts
    device = host.loop(host.image(f"{name}-a", "16M", "raw"))
    path = host.local / name  # under which each host has its own
    path.symlink_to(device)

    missing = check(two, name, devices={"disks": [block_disk(path, "vda")]})
    (second.directory / "local" / name).symlink_to(device)
    present = two.programs[0]("migrate", "--check", name, "zhost2")

    assert f"{path}, the block device of vda, is missing at the destination" in missing
    assert "device mapper's or udev's" in missing
    assert "nothing stands against" in present


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("tcp://nowhere.invalid", "the name nowhere.invalid is not known here"),
        ("tcp://{}.77", "port {} of {}.77 cannot be reached: No route to host"),
        ("tcp://{}.2:{}", ""),
    ],
)
def test_memory_cannot_be_sent_there(two: Two, unique_name: Name, uri: str, reason: str) -> None:
    """A name that nobody knows; an address that nobody has; a port that is stated is not asked."""
    network = two.hosts[1].address.rpartition(".")[0]
    port = two.hosts[1].port_max
    uri, reason = (uri.format(network, port), reason.format(port, network))
    two.desired.host(two.hosts[1], migration={"uri": uri, "port_max": port})

    said = check(two, unique_name(), status=1 if reason else 0)

    assert (reason or "nothing stands against") in said


def test_a_firewall_is_in_the_way(two: Two, unique_name: Name) -> None:
    """libvirt is reached, and the ports of migrations are not."""
    name, second = unique_name(), two.hosts[1]
    ports = f"{second.port_max - 99}:{second.port_max}"
    rule = (
        "INPUT",
        "-p",
        "tcp",
        "--dport",
        ports,
        "-j",
        "REJECT",
        "--reject-with",
        "icmp-host-prohibited",
    )
    subprocess.run(second.inside("iptables", "-A", *rule), check=True)
    try:
        closed = check(two, name)
    finally:
        subprocess.run(second.inside("iptables", "-D", *rule), check=True)
    opened = two.programs[0]("migrate", "--check", name, "zhost2")

    assert "nothing stands against" in opened
    assert f"port {second.port_max} of {second.address}" in closed
    assert "firewall (chapter 15)" in closed


def test_options_exclude_each_other(two: Two, unique_name: Name) -> None:
    """Tunnelled, and over several connections."""
    said = check(two, unique_name(), policy={"migration": {"tunnelled": True, "parallel": 2}})

    assert "parallel connections and a tunnelled migration exclude each other" in said


def test_post_copy_is_not_allowed(two: Two, unique_name: Name) -> None:
    """It is to be begun at the timeout all the same."""
    policy = {"migration": {"timeout": 60, "on_timeout": "post-copy"}}

    said = check(two, unique_name(), policy=policy)

    assert "on_timeout: post-copy needs post_copy" in said


def test_a_host_takes_none(two: Two, unique_name: Name) -> None:
    """It is not schedulable; too little memory there is told as well."""
    two.desired.host(two.hosts[1], schedulable=False)

    said = check(two, unique_name(), memory="512 GiB", currentMemory="192 MiB", state="shutoff")

    assert "zhost2 takes no virtual servers" in said


@pytest.mark.parametrize("state", ["saved"])
def test_a_saved_system_image_stays(two: Two, unique_name: Name, state: str) -> None:
    """It would be lost."""
    name = unique_name()
    two.desired.manifest(name, state="running", host="zhost1")
    two.programs[0].apply(name)
    two.desired.manifest(name, state=state, host="zhost1")
    two.programs[0].apply(name)

    said = two.programs[0]("migrate", "--check", name, "zhost2", status=1)

    assert "it has a saved system image, which does not move" in said
