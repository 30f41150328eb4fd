"""The project's own test bed: a private libvirt host with real s390x guests.

Nothing here touches a libvirt that the machine already runs. See `LibvirtHost` for how.
"""

from testbed.console import Console
from testbed.guest import Guest, domain_xml
from testbed.host import LibvirtHost, VirshError
from testbed.manifests import Desired, disk, interface
from testbed.program import Daemon, Reconvirt
from testbed.slots import Slot
from testbed.traces import sweep, traces
from testbed.waiting import NotSeen, wait_until

__all__ = [
    "Console",
    "Daemon",
    "Desired",
    "Guest",
    "LibvirtHost",
    "NotSeen",
    "Reconvirt",
    "Slot",
    "VirshError",
    "disk",
    "domain_xml",
    "interface",
    "sweep",
    "traces",
    "wait_until",
]
