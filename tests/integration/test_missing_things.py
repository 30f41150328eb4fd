"""What has stalled for want of a file, a bridge or a network goes on as soon as that is there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testbed import Desired, LibvirtHost, Reconvirt, disk, interface, wait_until

Name = Callable[..., str]

MINUTE = 60.0
MAC = "52:54:00:00:77:01"


@dataclass(frozen=True)
class Lack:
    """Something that a virtual server needs, and that is not there.

    Attributes:
        devices: the devices of the manifest that need it.
        told: what the status calls it.
        bring: makes it appear.
    """

    devices: dict[str, Any]
    told: str
    bring: Callable[[], object]


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


@contextmanager
def moved_directory(host: LibvirtHost, name: str) -> Iterator[Lack]:
    """The directory of its image has another name, as if a file system were not mounted."""
    directory, away = host.images / name, host.images / f"{name}.away"
    directory.mkdir(mode=0o755)
    image = host.image(f"{name}/disk.qcow2")
    directory.rename(away)
    devices = {"disks": [disk(image, "vda")]}
    yield Lack(devices, f"file {image}", lambda: away.rename(directory))


@contextmanager
def removed_bridge(host: LibvirtHost, _name: str) -> Iterator[Lack]:
    bridge = host.bridge()
    run("ip", "link", "delete", bridge)

    def bring() -> None:
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "link", "set", bridge, "up")

    yield Lack({"interfaces": [interface(bridge, MAC)]}, f"network device {bridge}", bring)


@contextmanager
def stopped_network(host: LibvirtHost, name: str) -> Iterator[Lack]:
    """A libvirt network that is defined and not started."""
    bridge, definition = host.bridge(), host.directory / f"{name}.net.xml"
    definition.write_text(
        f"<network><name>{name}</name><forward mode='bridge'/><bridge name='{bridge}'/></network>",
        encoding="utf-8",
    )
    host.virsh("net-define", definition)
    nic = {
        "type": "network",
        "mac": {"address": MAC},
        "source": {"network": name},
        "model": {"type": "virtio"},
    }
    try:
        yield Lack(
            {"interfaces": [nic]},
            f"active network {name}",
            lambda: host.virsh("net-start", name),
        )
    finally:
        host.destroy_everything()
        if name in host.virsh("net-list", "--name").split():
            host.virsh("net-destroy", name)
        host.virsh("net-undefine", name)


@pytest.mark.parametrize("lacking", [moved_directory, removed_bridge, stopped_network])
def test_it_goes_on_when_what_it_needs_is_there(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    lacking: Callable[[LibvirtHost, str], Any],
) -> None:
    """Within seconds, where the next attempt would be a quarter of an hour away."""
    name = unique_name("lack")
    reconvirt.configure(resync_seconds=3000, glance_seconds=1)
    with lacking(host, name) as lack:
        desired.manifest(name, devices=lack.devices)
        with reconvirt.run() as daemon:

            def settled() -> Any:
                (seen,) = reconvirt.json("get", name)["virtualServers"]
                return seen if seen["phase"] in ("stalled", "refused") else None

            seen = wait_until(settled, 2 * MINUTE, "it to be given up for now")
            assert f"missing on this host: {lack.told}" in seen["message"]
            events = [
                each
                for each in reconvirt.json("events", name)["events"]
                if each["reason"] == "StepFailed"
            ]
            assert len(events) <= 1

            lack.bring()

            # Much longer than it takes, and much shorter than until it would be tried again.
            daemon.wait_for("step done", MINUTE, virtual_server=name, step="start")
            daemon.wait_for("converged", MINUTE, virtual_server=name)
            assert "running" == host.virsh("domstate", name).strip()
