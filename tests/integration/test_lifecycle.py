"""Every row of the book's tables of states (chapter 23), on a real virtual server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from testbed import Desired, Guest, LibvirtHost, Reconvirt, domain_xml, wait_until

Name = Callable[..., str]

# How a state is reached by hand, from one that is defined and shut off.
SHUT_OFF: tuple[tuple[str, ...], ...] = ()
DESTROYED = (("start", "--paused"), ("destroy",))
SAVED_RUNNING = (("start",), ("managedsave",))
SAVED_PAUSED = (("start", "--paused"), ("managedsave",))
RUNNING = (("start",),)
PAUSED = (("start", "--paused"),)

DISCARD = {"saved": "discard"}

BY_MANIFEST = [
    # start
    ("unknown", SHUT_OFF, "running", {}, "running (booted)"),
    ("saved from running", SAVED_RUNNING, "running", {}, "running (restored)"),
    # The book has it stay paused (migrating); who wants it to run has it resumed.
    ("saved from paused", SAVED_PAUSED, "running", {}, "running (unpaused)"),
    ("destroyed", DESTROYED, "running", {}, "running (booted)"),
    # start --force-boot
    ("unknown, force", SHUT_OFF, "running", DISCARD, "running (booted)"),
    ("saved from running, force", SAVED_RUNNING, "running", DISCARD, "running (booted)"),
    ("saved from paused, force", SAVED_PAUSED, "running", DISCARD, "running (booted)"),
    ("destroyed, force", DESTROYED, "running", DISCARD, "running (booted)"),
    # start --paused
    ("unknown, paused", SHUT_OFF, "paused", {}, "paused (user)"),
    ("saved from running, paused", SAVED_RUNNING, "paused", {}, "paused (migrating)"),
    ("saved from paused, paused", SAVED_PAUSED, "paused", {}, "paused (migrating)"),
    ("destroyed, paused", DESTROYED, "paused", {}, "paused (user)"),
    # managedsave, suspend
    ("running, saved", RUNNING, "saved", {}, "shut off (saved)"),
    ("running, suspended", RUNNING, "paused", {}, "paused (user)"),
    ("paused, saved", PAUSED, "saved", {}, "shut off (saved)"),
    # resume
    ("paused, resumed", PAUSED, "running", {}, "running (unpaused)"),
    # left alone
    ("paused, any", PAUSED, "any", {}, "paused (user)"),
    ("saved, any", SAVED_RUNNING, "any", {}, "shut off (saved)"),
    ("saved, shutoff", SAVED_RUNNING, "shutoff", {}, "shut off (saved)"),
]


@pytest.fixture(scope="module")
def server(host: LibvirtHost, guest: Guest) -> Iterator[str]:
    """A defined virtual server that all rows use."""
    name = host.unique_name("life")
    host.define(domain_xml(name, guest, host.console_log(name)))
    yield name
    host.destroy_everything()


def state(host: LibvirtHost, name: str) -> str:
    """State and reason, as virsh has them."""
    return host.virsh("domstate", "--reason", name).strip()


def arrange(host: LibvirtHost, name: str, commands: tuple[tuple[str, ...], ...]) -> None:
    """Bring it by hand where a row begins."""
    if "shut off" not in state(host, name):
        host.virsh("destroy", name)
    if "yes" in host.virsh("dominfo", name).partition("Managed save:")[2][:10]:
        host.virsh("managedsave-remove", name)
    for command, *options in commands:
        host.virsh(command, *options, name)


def adopt(host: LibvirtHost, desired: Desired, name: str, wanted: str, **policy: Any) -> None:
    """A manifest for the virtual server that is there, which states its uuid."""
    uuid = host.virsh("domuuid", name).strip()
    desired.manifest(name, metadata={"uuid": uuid}, state=wanted, policy=policy or None)


@pytest.mark.parametrize(
    ("commands", "wanted", "policy", "expected"),
    [row[1:] for row in BY_MANIFEST],
    ids=[row[0] for row in BY_MANIFEST],
)
def test_a_manifest_leads_from_state_to_state(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    server: str,
    commands: tuple[tuple[str, ...], ...],
    wanted: str,
    policy: dict[str, Any],
    expected: str,
) -> None:
    """The right call from every state and reason; a second look does nothing more."""
    arrange(host, server, commands)
    adopt(host, desired, server, wanted, **policy)

    reconvirt.apply()
    again = reconvirt.apply()

    assert expected == state(host, server)
    assert 0 == again["calls"]["writing"]


def test_a_booted_guest_shuts_down_from_running_and_from_paused(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """It is asked, and a paused one is let go on to hear it; the reason tells it was in order."""
    name = unique_name()
    desired.manifest(name)
    reconvirt.apply()
    host.console(name).wait_for("^GUEST-UP")

    desired.manifest(name, state="shutoff")
    reconvirt.apply()

    assert "shut off (shutdown)" == state(host, name)

    desired.manifest(name)
    reconvirt.apply()
    console = host.console(name)
    console.wait_for("^GUEST-DOWN")
    console.wait_for("^GUEST-UP")
    host.virsh("suspend", name)
    desired.manifest(name, state="shutoff")
    reconvirt.apply()

    assert "shut off (shutdown)" == state(host, name)


def test_a_guest_that_does_not_answer_is_ended_only_by_policy(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """It is asked again and again, then said to be silent; force pulls the plug."""
    name = unique_name()
    # Without a kernel there is nobody who could hear it; the machine waits in its firmware.
    serial = [{"type": "pty", "target": {"type": "serial"}}]
    silent = {"os": {"arch": "x86_64", "machine": "pc"}, "devices": {"consoles": serial}}
    policy = {"shutdown": {"retry": 1, "timeout": 3}}
    desired.manifest(name, policy=policy, **silent)
    reconvirt.apply()
    desired.manifest(name, state="shutoff", policy=policy, **silent)
    with reconvirt.run() as daemon:
        told = daemon.wait_for("guest does not answer", virtual_server=name)
        assert "has not answered" in told["message"]
        assert "running (booted)" == state(host, name)

        policy["shutdown"]["force"] = True  # type: ignore[assignment]  # a mapping of mappings
        desired.manifest(name, state="shutoff", policy=policy, **silent)
        wait_until(lambda: state(host, name) == "shut off (destroyed)", 30, "it to be ended")


def test_autostart_follows_the_manifest(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """libvirt's own flag; what is not stated is left as it is."""
    name = unique_name()
    desired.manifest(name, state="shutoff", autostart=True)
    reconvirt.apply()

    assert "enable" in host.virsh("dominfo", name).partition("Autostart:")[2][:20]

    desired.manifest(name, state="shutoff")
    reconvirt.apply()

    assert "enable" in host.virsh("dominfo", name).partition("Autostart:")[2][:20]

    desired.manifest(name, state="shutoff", autostart=False)
    reconvirt.apply()

    assert "disable" in host.virsh("dominfo", name).partition("Autostart:")[2][:20]


def test_a_renamed_manifest_keeps_its_virtual_server(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Its uuid tells which one it is; it is renamed when it is shut off, not made anew."""
    old, new = unique_name("old"), unique_name("new")
    desired.manifest(old, state="shutoff")
    reconvirt.apply()
    uuid = host.virsh("domuuid", old).strip()
    desired.remove(old)
    desired.manifest(new, metadata={"uuid": uuid}, state="shutoff")

    reconvirt.apply()

    assert uuid == host.virsh("domuuid", new).strip()
    assert old not in host.names()
