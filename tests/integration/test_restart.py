"""What waits for a restart is told exactly, holds up nothing, and is gone after one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from testbed import Daemon, Desired, LibvirtHost, Reconvirt, wait_until

Name = Callable[..., str]


def boots(host: LibvirtHost, name: str) -> int:
    """How often the guest has booted."""
    return host.console(name).text.count("GUEST-UP")


def booted(host: LibvirtHost, name: str, times: int) -> None:
    """Wait for the guest to have booted so often."""
    wait_until(lambda: boots(host, name) >= times, 120, f"{name} to boot for the {times}. time")


def converged(daemon: Daemon, name: str, times: int) -> None:
    """Wait until it was converged so often."""
    wait_until(
        lambda: len(daemon.logged("converged", virtual_server=name)) >= times, 60, "convergence"
    )


@pytest.mark.usefixtures("cpu_controller")
def test_exactly_what_must_wait_waits(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Most vCPUs, memory and machine wait; the CPU weight goes live; a restart ends the wait."""
    name = unique_name()
    desired.manifest(name, cputune={"shares": 512})
    with reconvirt.run() as daemon:
        booted(host, name, 1)
        converged(daemon, name, 1)

        desired.manifest(
            name,
            memory="256 MiB",
            vcpu={"maximum": 3, "current": 1},
            os={**desired.os, "machine": "s390-ccw-virtio-7.1"},
            cputune={"shares": 2048},
        )

        waiting = daemon.wait_for("restart required", virtual_server=name)
        assert "at next start: memory.size, vcpu.maximum, os.machine" == waiting["message"]
        assert daemon.logged("step done", step="set-parameter", field="cputune.shares", new="2048")
        plan = reconvirt.plan(status=2)["virtualServers"][0]
        expected = [
            ("memory.size", "192 MiB", "256 MiB"),
            ("vcpu.maximum", 2, 3),
            ("os.machine", "s390-ccw-virtio-7.2", "s390-ccw-virtio-7.1"),
        ]
        assert expected == [(c["field"], c["old"], c["new"]) for c in plan["waiting"]]
        assert 1 == boots(host, name)

        host.virsh("shutdown", name)
        booted(host, name, 2)
        converged(daemon, name, 2)
        assert [] == reconvirt.plan()["virtualServers"][0]["waiting"]


def test_by_policy_it_is_restarted_at_once(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """The guest is asked to shut down and started again, once."""
    name = unique_name()
    desired.manifest(name)
    with reconvirt.run() as daemon:
        booted(host, name, 1)
        converged(daemon, name, 1)

        desired.manifest(name, memory="256 MiB", policy={"restart": "automatic"})

        booted(host, name, 2)
        converged(daemon, name, 2)
        assert 2 == boots(host, name)
        assert 1 == len(daemon.logged("step asked", virtual_server=name, step="shutdown"))


def test_the_guest_s_own_reboot_applies_what_waits(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Until then nothing is restarted; the reboot ends the process, and it is started anew."""
    name = unique_name()
    desired.manifest(name, policy={"restart": "on-guest-reboot"})
    with reconvirt.run() as daemon:
        booted(host, name, 1)
        converged(daemon, name, 1)
        desired.manifest(name, memory="256 MiB", policy={"restart": "on-guest-reboot"})
        daemon.wait_for("restart required", virtual_server=name)
        assert "destroy" in host.virsh("dumpxml", name).partition("<on_reboot>")[2][:9]
        assert 1 == boots(host, name)

        host.virsh("reboot", name)

        booted(host, name, 2)
        converged(daemon, name, 2)
        assert "262144" in host.virsh("dominfo", name)
        assert "restart" in host.virsh("dumpxml", name).partition("<on_reboot>")[2][:9]
