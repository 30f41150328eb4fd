"""The project's own test bed: a private libvirt host with real s390x guests.

Nothing here touches a libvirt that the machine already runs. See `LibvirtHost` for how.
"""

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
from testbed.program import Daemon, Reconvirt
from testbed.second import SecondHost
from testbed.slots import Slot
from testbed.switch import SwitchError, SwitchTakenError
from testbed.traces import sweep, traces
from testbed.two import Two
from testbed.waiting import NotSeen, wait_until
from testbed.x86 import x86_domain_xml

__all__ = [
    "Console",
    "Daemon",
    "Desired",
    "Guest",
    "LibvirtHost",
    "NotSeen",
    "Reconvirt",
    "SecondHost",
    "Slot",
    "SwitchError",
    "SwitchTakenError",
    "Two",
    "VirshError",
    "block_disk",
    "cdrom",
    "direct_interface",
    "disk",
    "domain_xml",
    "interface",
    "sweep",
    "switch_interface",
    "traces",
    "wait_until",
    "x86_domain_xml",
]
