"""What virsh tells of a virtual server, in the form in which tests compare it."""

import re
import xml.etree.ElementTree as ET
from itertools import permutations
from typing import Any

from testbed.host import LibvirtHost
from testbed.program import Reconvirt


def live(host: LibvirtHost, name: str) -> ET.Element:
    """The XML of what runs."""
    return ET.fromstring(host.virsh("dumpxml", name))


def config(host: LibvirtHost, name: str) -> ET.Element:
    """The XML of what the next start brings."""
    return ET.fromstring(host.virsh("dumpxml", "--inactive", name))


def addresses(root: ET.Element) -> dict[str, dict[str, str]]:
    """The address of each device that has one: by target, MAC address, or kind and number."""
    found: dict[str, dict[str, str]] = {}
    for device in root.findall("devices/*"):
        mac, target, address = (device.find(tag) for tag in ("mac", "target", "address"))
        if address is None:
            continue
        key = f"{device.tag} {device.get('type')} {device.get('index', '')}"
        if mac is not None:
            key = mac.get("address", "")
        elif device.tag == "disk" and target is not None:
            key = target.get("dev", "")
        found[key] = dict(address.attrib)
    return found


def disks(host: LibvirtHost, name: str, *options: str) -> dict[str, str]:
    """The sources of disks by their targets; "-" where there is none, as in an empty drive."""
    return dict(
        re.findall(r"^ *(\w+) +(\S+)$", host.virsh("domblklist", name, *options), re.MULTILINE)
    )


def sees_disks(*sizes: str) -> str:
    """A console line of a guest with virtio disks of these sizes, under whichever names.

    Those that are there when it boots it names in the order in which it finds them.
    """
    orders = (",".join(f"vd[a-z]:{size}" for size in order) for order in permutations(sizes))
    return rf"^GUEST cpus=\S+ blk=(?:{'|'.join(orders) or '-'}) "


def sees_interfaces(*macs: str) -> str:
    """The part of a console line of a guest with interfaces of these MAC addresses.

    Which of those that are plugged together it finds first is its own affair.
    """
    orders = (
        ",".join(f"eth{number}/{mac}" for number, mac in enumerate(order))
        for order in permutations(macs)
    )
    return f"net=(?:{'|'.join(orders)})"


def verbs(report: dict[str, Any]) -> list[str]:
    """The steps of the only virtual server in a report."""
    return [step["action"] for step in report["virtualServers"][0]["steps"]]


def outcome(report: dict[str, Any]) -> dict[str, Any]:
    """The only virtual server in a report."""
    only: dict[str, Any]
    (only,) = report["virtualServers"]
    return only


def assert_settled(reconvirt: Reconvirt, *, waiting: tuple[str, ...] = ()) -> None:
    """A plan has nothing to do but what waits, and another apply makes no writing call."""
    plan = outcome(reconvirt.plan(status=2 if waiting else 0))
    assert [] == plan["steps"]
    assert list(waiting) == [each["field"] for each in plan["waiting"]]
    assert 0 == reconvirt.apply(status=3 if waiting else 0)["calls"]["writing"]
