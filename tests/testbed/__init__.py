"""The project's own test bed: a private libvirt host with real s390x guests.

Nothing here touches a libvirt that the machine already runs. See `LibvirtHost` for how.
"""

from testbed.browser import Browser, dump_dom
from testbed.console import Console
from testbed.guest import Guest, domain_xml
from testbed.host import LibvirtHost, VirshError
from testbed.manifests import (
    Desired,
    block_disk,
    cdrom,
    direct_interface,
    disk,
    interface,
    switch_interface,
)
from testbed.program import Daemon, Following, Reconvirt
from testbed.prometheus import Prometheus
from testbed.scrape import Scrape, address_of, scrape
from testbed.second import SecondHost
from testbed.seen import (
    addresses,
    assert_settled,
    config,
    disks,
    live,
    outcome,
    sees_disks,
    sees_interfaces,
    verbs,
)
from testbed.slots import Slot
from testbed.switch import SwitchError, SwitchTakenError
from testbed.traces import sweep, traces
from testbed.two import Two
from testbed.waiting import NotSeen, wait_until
from testbed.x86 import x86_domain_xml

__all__ = [
    "Browser",
    "Console",
    "Daemon",
    "Desired",
    "Following",
    "Guest",
    "LibvirtHost",
    "NotSeen",
    "Prometheus",
    "Reconvirt",
    "Scrape",
    "SecondHost",
    "Slot",
    "SwitchError",
    "SwitchTakenError",
    "Two",
    "VirshError",
    "address_of",
    "addresses",
    "assert_settled",
    "block_disk",
    "cdrom",
    "config",
    "direct_interface",
    "disk",
    "disks",
    "domain_xml",
    "dump_dom",
    "interface",
    "live",
    "outcome",
    "scrape",
    "sees_disks",
    "sees_interfaces",
    "sweep",
    "switch_interface",
    "traces",
    "verbs",
    "wait_until",
    "x86_domain_xml",
]
