"""The second host of the test bed, with virsh alone."""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from testbed import Guest, LibvirtHost, SecondHost, domain_xml

Name = Callable[..., str]


def test_a_booted_guest_moves_there_and_back(
    pair: tuple[LibvirtHost, SecondHost], guest: Guest, unique_name: Name
) -> None:
    """virsh migrates it both ways, and its console shows no second boot."""
    host, second_host = pair
    name = unique_name()
    host.define(domain_xml(name, guest, host.console_log(name)))
    host.virsh("start", name)
    console = host.console(name)
    console.wait_for("^GUEST cpus=")
    options = ("--live", "--p2p", "--persistent", "--undefinesource", "--unsafe")

    host.virsh("migrate", *options, name, second_host.remote_uri)

    assert (host.names(), second_host.names()) == ([], [name])
    second_host.virsh("setvcpus", name, "2", "--live")
    console.wait_for("^GUEST cpus=0-1")
    second_host.virsh("migrate", *options, name, host.remote_uri)
    assert (host.names(), second_host.names()) == ([name], [])
    assert console.text.count("GUEST-UP") == 1


def test_each_libvirt_is_a_host_of_its_own(pair: tuple[LibvirtHost, SecondHost]) -> None:
    """By the host uuid that it reports, which outlasts a restart."""

    def reported() -> list[str | None]:
        capabilities = [host.virsh("capabilities", timeout=280) for host in pair]
        return [etree.fromstring(each).findtext("host/uuid") for each in capabilities]

    first = reported()

    assert [host.uuid for host in pair] == first
    assert 2 == len(set(first))
    pair[1].restart_libvirtd()
    assert first == reported()
