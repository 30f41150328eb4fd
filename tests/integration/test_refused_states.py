"""States that libvirt refuses on real virtual servers: one call a look, and the guest runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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


def reason(host: LibvirtHost, name: str) -> str:
    """State and reason, as virsh has them."""
    return host.virsh("domstate", "--reason", name).strip()


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


CHANNEL = (
    "<domain><devices><channel type='unix'>"
    "<target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>"
)


@pytest.mark.parametrize("piece", [None, CHANNEL], ids=["no channel", "nothing answers"])
def test_a_guest_without_an_agent_is_not_ended_by_force(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    piece: str | None,
) -> None:
    """It never got the request; the status says how to reach it, and then it shuts down itself."""
    name = unique_name("agent")
    policy = {"shutdown": {"mode": "agent", "force": True, "timeout": 4, "retry": 1}}
    reconvirt.configure(resync_seconds=300)
    more = {} if piece is None else {"xml": piece}
    desired.manifest(name, policy=policy, **more)
    with reconvirt.run():
        host.console(name).wait_for("GUEST-UP", MINUTE)
        desired.manifest(name, policy=policy, state="shutoff", **more)

        # 1, 2, 4 and 8 seconds lie between five attempts: longer than the timeout.
        wait_until(lambda: failures(reconvirt, name, "shutdown") >= 5, MINUTE, "five attempts")

        assert "running" == host.virsh("domstate", name).strip()
        seen = status(reconvirt, name)
        assert seen["phase"] in ("failed", "stalled")
        assert "policy.shutdown.mode: agent" in seen["message"]
        assert "qemu-guest-agent" in seen["message"]

        polite = {"shutdown": {**policy["shutdown"], "mode": "default", "timeout": 300}}
        desired.manifest(name, policy=polite, state="shutoff", **more)
        host.console(name).wait_for("GUEST-DOWN", MINUTE)
        wait_until(lambda: reason(host, name) == "shut off (shutdown)", MINUTE, "it to be off")


def test_a_way_of_asking_that_libvirt_does_not_know_never_leads_to_force(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """The signal is LXC's and Xen's; it waits for another manifest."""
    name = unique_name("signal")
    policy = {"shutdown": {"mode": "signal", "force": True, "timeout": 1, "retry": 1}}
    desired.manifest(name, policy=policy)
    with reconvirt.run() as daemon:
        host.console(name).wait_for("GUEST-UP", MINUTE)
        desired.manifest(name, policy=policy, state="shutoff")
        daemon.wait_for("step failed", MINUTE, virtual_server=name, step="shutdown")

        reconvirt("reconcile", name)
        wait_until(lambda: failures(reconvirt, name, "shutdown") >= 2, MINUTE, "another attempt")

        assert "running" == host.virsh("domstate", name).strip()
        assert "policy.shutdown.mode: signal" in status(reconvirt, name)["message"]
