"""States that libvirt refuses on real virtual servers: one call a look, and the guest runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed import Desired, LibvirtHost, Reconvirt, disk, wait_until

Name = Callable[..., str]

MINUTE = 60.0


def failures(reconvirt: Reconvirt, name: str, step: str) -> int:
    """How often a step was refused, whatever the number of events that it took to say so."""
    events = reconvirt.json("events", name)["events"]
    failed = [each for each in events if (each["reason"], each["step"]) == ("StepFailed", step)]
    return sum(each.get("count", 1) for each in failed)


def status(reconvirt: Reconvirt, name: str) -> Any:
    """The status of one virtual server."""
    (found,) = reconvirt.json("get", name)["virtualServers"]
    return found


def test_a_guest_that_cannot_be_saved_is_not_saved_again_and_again(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
) -> None:
    """One with a disk on PCI, on s390x; it runs on, and the status has libvirt's reason."""
    name = unique_name("pci")
    reconvirt.configure(resync_seconds=300)
    devices = {"disks": [{**disk(host.image(name), "vda"), "address": {"type": "pci"}}]}
    desired.manifest(name, devices=devices)
    with reconvirt.run() as daemon:
        host.console(name).wait_for("GUEST-UP", MINUTE)
        desired.manifest(name, devices=devices, state="saved")
        daemon.wait_for("step failed", MINUTE, virtual_server=name, step="save")

        wait_until(lambda: failures(reconvirt, name, "save") >= 3, MINUTE, "further attempts")

        # After 1, 2, 4, 8 … seconds: never several in one look.
        assert failures(reconvirt, name, "save") < 10
        seen = status(reconvirt, name)
        assert seen["phase"] in ("failed", "stalled")
        assert "non-migratable device" in seen["message"]
        assert "running" == host.virsh("domstate", name).strip()
