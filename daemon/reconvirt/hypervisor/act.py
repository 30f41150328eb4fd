"""Acting on one virtual server: each action of the domain room is one writing call here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

import libvirt

from reconvirt.domain.actions import (
    Action,
    AddIothread,
    Attach,
    Define,
    DeleteIothread,
    Detach,
    Record,
    SetLifecycleAction,
    SetShares,
    SetVcpus,
    Shutdown,
    Start,
)
from reconvirt.domain.mark import NAMESPACE, PREFIX

Call = Callable[..., Any]

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
_LIFECYCLE_EVENTS = {
    "poweroff": libvirt.VIR_DOMAIN_LIFECYCLE_POWEROFF,
    "reboot": libvirt.VIR_DOMAIN_LIFECYCLE_REBOOT,
    "crash": libvirt.VIR_DOMAIN_LIFECYCLE_CRASH,
}
_REACTIONS = {
    "destroy": libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY,
    "restart": libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_RESTART,
    "rename-restart": libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_RESTART_RENAME,
    "preserve": libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE,
    "coredump-destroy": libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_DESTROY,
    "coredump-restart": libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_RESTART,
}


def perform(  # noqa: C901 - one case an action
    connection: libvirt.virConnect, name: str, action: Action, *, read: Call, write: Call
) -> None:
    """Do one thing to a virtual server.

    Returning means that libvirt took the call; whether a guest has followed is to be read.

    Raises:
        libvirt.libvirtError: as libvirt says.
    """
    if isinstance(action, Define):
        # Without VALIDATE libvirt silently drops elements that it does not know.
        flags = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
        write(connection.defineXMLFlags, action.xml, flags)
        return
    domain = read(connection.lookupByName, name)
    match action:
        case Record(mark, live):
            where = _LIVE if live else _CONFIG
            kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
            write(domain.setMetadata, kind, mark, PREFIX, NAMESPACE, where)
        case Start():
            write(domain.create)
        case Shutdown():
            write(domain.shutdown)
        case SetVcpus(count):
            write(domain.setVcpusFlags, count, _LIVE)
        case SetShares(shares):
            parameters = {"cpu_shares": shares}
            write(domain.setSchedulerParametersFlags, parameters, _LIVE)
        case AddIothread(number):
            write(domain.addIOThread, number, _LIVE)
        case DeleteIothread(number):
            write(domain.delIOThread, number, _LIVE)
        case SetLifecycleAction(event, reaction):
            kind, reply = _LIFECYCLE_EVENTS[event], _REACTIONS[reaction]
            write(domain.setLifecycleAction, kind, reply, _LIVE)
        case Attach(xml):
            write(domain.attachDeviceFlags, xml, _LIVE)
        case Detach(alias):
            write(domain.detachDeviceAlias, alias, _LIVE)
        case _:
            assert_never(action)
