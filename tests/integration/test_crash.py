"""Crashed guests under each policy: kept, restarted, dumped; and those that crash at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from testbed import Desired, LibvirtHost, Reconvirt, wait_until

Name = Callable[..., str]


def state(host: LibvirtHost, name: str) -> str:
    """State and reason, as virsh has them."""
    return host.virsh("domstate", "--reason", name).strip()


def crash(host: LibvirtHost, name: str, boots: int = 1) -> None:
    """Have a booted guest crash."""
    wait_until(
        lambda: host.console(name).text.count("GUEST-UP") >= boots, 90, f"boot {boots} of {name}"
    )
    host.virsh("inject-nmi", name)


def is_elf(path: Path) -> bool:
    """Whether it is an ELF core of s390x: 64 bit, big endian, machine 22."""
    head = path.read_bytes()[:20]
    return head[:6] == b"\x7fELF\x02\x02" and head[16:20] == b"\x00\x04\x00\x16"


def test_a_preserved_guest_waits_for_a_person(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """It is told what has happened, and nothing is done; the policy changed, it is restarted."""
    name = unique_name()
    desired.manifest(name, on_crash="preserve")
    with reconvirt.run() as daemon:
        crash(host, name)
        told = daemon.wait_for("refused", virtual_server=name)
        assert "it has crashed and is preserved" in told["message"]
        assert "crashed (panicked)" == state(host, name)

        desired.manifest(name, on_crash="preserve", policy={"crash": "restart"})

        daemon.wait_for("step done", virtual_server=name, step="destroy")
        host.console(name).wait_for("^GUEST-UP(.|\n)*^GUEST-UP")
        assert "running (booted)" == state(host, name)


def test_a_dump_is_written_once_and_is_readable(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """An ELF file of the guest's memory; the guest stays, and no second dump is made of it."""
    name = unique_name()
    desired.manifest(name, on_crash="preserve", policy={"crash": "dump"})
    with reconvirt.run() as daemon:
        crash(host, name)
        told = daemon.wait_for("refused", virtual_server=name)

        (dump,) = reconvirt.dumps.glob("*.elf")
        assert is_elf(dump)
        assert dump.stat().st_size > 192 * 1024 * 1024
        assert str(dump) in told["message"]
        assert "crashed (panicked)" == state(host, name)
        daemon.reload()
        assert [dump] == list(reconvirt.dumps.iterdir())


def test_dump_and_restart_goes_on_and_stops_dumping_at_the_cap(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Each crash is dumped until there are as many as allowed; the guest is restarted anyway."""
    name = unique_name()
    reconvirt.configure(most_dumps=1)
    desired.manifest(name, on_crash="preserve", policy={"crash": "dump-and-restart"})
    with reconvirt.run() as daemon:
        crash(host, name)
        daemon.wait_for("step done", virtual_server=name, step="destroy")
        assert 1 == len(list(reconvirt.dumps.glob("*.elf")))

        crash(host, name, boots=2)

        told = wait_until(
            lambda: daemon.logged("step done", virtual_server=name, step="destroy")[1:],
            120,
            "the second restart",
        )
        assert "1 are allowed" in told[0]["message"]
        assert 1 == len(list(reconvirt.dumps.glob("*.elf")))


def test_one_that_crashes_at_once_is_started_less_and_less_often(
    desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Nothing to boot: it crashes in the firmware; after the first time it is waited for 10 s."""
    name = unique_name()
    system = {"arch": "s390x", "machine": "s390-ccw-virtio"}
    desired.manifest(name, os=system, on_crash="preserve", policy={"crash": "restart"})
    with reconvirt.run() as daemon:
        told = daemon.wait_for("waiting", virtual_server=name)

        assert re.search("it has ended once soon after its start", told["message"])
        assert 1 == len(daemon.logged("step done", virtual_server=name, step="start"))
        wait_until(
            lambda: len(daemon.logged("step done", virtual_server=name, step="start")) == 2,
            40,
            "the second start",
        )
