"""Virtual servers moved between two real hosts by editing their manifests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from testbed import Console, Two, disk, interface

Name = Callable[..., str]
UNSAFE = {"migration": {"unsafe": True}}


def ups(console: Console) -> list[str]:
    """Each boot that the console shows."""
    return re.findall("^GUEST-UP", console.text, re.MULTILINE)


def test_editing_the_host_moves_a_running_guest_there_and_back(two: Two, unique_name: Name) -> None:
    """CPU, disk and NIC survive, and the console shows no second boot."""
    host, second = two.hosts
    name, bridge = unique_name(), host.bridge()
    second.bridge_like(bridge)
    devices = {
        "disks": [disk(host.image(f"{name}-a"), "vda")],
        "interfaces": [interface(bridge, "52:54:00:00:15:01")],
    }

    def want(number: int, cpus: int) -> None:
        two.desired.manifest(
            name,
            devices=devices,
            policy=UNSAFE,
            autostart=True,
            host=two.hosts[number].NAME,
            vcpu={"maximum": 2, "current": cpus},
        )

    want(0, 1)
    two.start()
    console = host.console(name)
    console.wait_for("^GUEST cpus=0 blk=vda:64MiB net=eth0/52:54:00:00:15:01")

    want(1, 1)
    two.wait_for_move(name, 1)
    want(1, 2)
    line = console.wait_for(r"^GUEST cpus=0-1 blk=vda:64MiB net=eth0/52:54:00:00:15:01.*$")
    want(0, 2)
    two.wait_for_move(name, 0)

    assert "enable" in host.virsh("dominfo", name).partition("Autostart:")[2].splitlines()[0]
    assert len(ups(console)) == 1, line


def test_one_that_is_shut_off_moves_its_definition(two: Two, unique_name: Name) -> None:
    """Offline: the definition is on one host afterwards, and starts there."""
    name = unique_name()
    spec: dict[str, Any] = {"policy": UNSAFE, "state": "shutoff"}
    two.desired.manifest(name, host="zhost1", **spec)
    two.start()
    two.wait_for_move(name, 0, "shut off")

    two.desired.manifest(name, host="zhost2", **spec)
    two.wait_for_move(name, 1, "shut off")
    two.desired.manifest(name, host="zhost2", policy=UNSAFE)
    two.wait_for_move(name, 1)
