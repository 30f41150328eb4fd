"""Acting on one virtual server: each action of the domain room is one writing call here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_never

import libvirt

from reconvirt.domain.actions import (
    Action,
    AddIothread,
    Attach,
    CreateImage,
    Define,
    DeleteIothread,
    Destroy,
    Detach,
    DomainAction,
    Dump,
    GrowDisk,
    GrowImage,
    InjectNmi,
    LimitInterface,
    Record,
    Rename,
    Resume,
    Save,
    SetAutostart,
    SetLifecycleAction,
    SetMemory,
    SetParameter,
    SetText,
    SetVcpus,
    Shutdown,
    Start,
    Suspend,
    Throttle,
    Undefine,
    UpdateDevice,
    Wake,
)
from reconvirt.domain.mark import NAMESPACE, PREFIX
from reconvirt.domain.migration_actions import (
    AbortMigration,
    EndLeftover,
    Migrate,
    ResumeAfterMigration,
    SetMaxDowntime,
    StartPostCopy,
    SuspendToMigrate,
)
from reconvirt.hypervisor.errors import NotLive, OperationFailed, Rejected, translate
from reconvirt.hypervisor.images import create_image, dac_owner, grow_image
from reconvirt.hypervisor.migrate import steer
from reconvirt.hypervisor.observe import check_responding
from reconvirt.hypervisor.schema_check import breaks_schema

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


_SHUTDOWN_MODES = {
    "default": 0,
    "acpi": libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN,
    "agent": libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT,
    "signal": libvirt.VIR_DOMAIN_SHUTDOWN_SIGNAL,
}
_OTHER_WAYS = {
    "agent": "install and start qemu-guest-agent in the guest and give it the channel "
    "org.qemu.guest_agent.0, or state 'policy: {shutdown: {mode: default}}'",
    "acpi": "state 'policy: {shutdown: {mode: default}}'",
    "signal": "state 'policy: {shutdown: {mode: default}}'",
}
# What belongs to the guest stays; one with a saved image or snapshots is refused by libvirt.
_UNDEFINE = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM
_TEXTS = {
    "title": libvirt.VIR_DOMAIN_METADATA_TITLE,
    "description": libvirt.VIR_DOMAIN_METADATA_DESCRIPTION,
}


def perform(
    connection: libvirt.virConnect, uuid: str, action: Action, *, read: Call, write: Call
) -> None:
    """Do one thing to a virtual server, which is found by its uuid: names can be given away.

    Returning means that libvirt took the call; whether a guest has followed is to be read.

    Raises:
        libvirt.libvirtError: as libvirt says.
        HypervisorError: libvirt refuses the way in which a guest is to be asked.
        ImageError: an image could not be made or grown.
    """
    match action:
        case Define(xml, base):
            _define(connection, xml, base, write)
        case Rename(_, new):
            write(read(connection.lookupByUUIDString, uuid).rename, new)
        case CreateImage():
            _create_image(connection, action, read, write)
        case GrowImage(path, form, size):
            write(grow_image, path, size, form)
        case (
            Migrate()
            | SetMaxDowntime()
            | AbortMigration()
            | StartPostCopy()
            | SuspendToMigrate()
            | ResumeAfterMigration()
            | EndLeftover()
        ):
            steer(read(connection.lookupByUUIDString, uuid), action, read=read, write=write)
        case _:
            domain = read(connection.lookupByUUIDString, uuid)
            if not isinstance(action, Destroy):  # which ends a QEMU that hangs as well
                check_responding(domain, read)
            _perform_on(domain, action, write)


def _dump(domain: libvirt.virDomain, path: str, write: Call) -> None:
    """Dump under another name first: what bears the right name is whole."""
    unfinished = f"{path}.part"
    form = libvirt.VIR_DOMAIN_CORE_DUMP_FORMAT_RAW
    write(domain.coreDumpWithFormat, unfinished, form, libvirt.VIR_DUMP_MEMORY_ONLY)
    Path(unfinished).rename(path)


def _shut_down(domain: libvirt.virDomain, mode: str, write: Call) -> None:
    """Ask the guest to shut down.

    libvirt refuses the way itself where the guest has no agent (as an unsupported argument, or the
    agent as unresponsive), and where the driver does not know the way (as an invalid argument).
    """
    try:
        write(domain.shutdownFlags, _SHUTDOWN_MODES[mode])
    except libvirt.libvirtError as error:
        refusal = translate(error)
        if mode not in _OTHER_WAYS or not isinstance(refusal, NotLive | Rejected | OperationFailed):
            raise
        message = (
            f"the guest was not asked to shut down, since libvirt refuses the way that "
            f"policy.shutdown.mode: {mode} states: {refusal}; {_OTHER_WAYS[mode]}"
        )
        kind = Rejected if isinstance(refusal, Rejected) else OperationFailed
        raise kind(message) from error


def _define(connection: libvirt.virConnect, xml: str, base: str, write: Call) -> None:
    """Define a domain, with libvirt's schema checking it.

    Without the check libvirt silently drops elements that it does not know. But of what libvirt
    itself stores, its schema refuses some (seen with 3 of 100 real domains, libvirt 9.0): where
    the present configuration is such a one, the check says nothing of the change.
    """
    try:
        write(connection.defineXMLFlags, xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    except libvirt.libvirtError as error:
        invalid = error.get_error_code() == libvirt.VIR_ERR_XML_INVALID_SCHEMA
        if not (invalid and base and breaks_schema(base)):
            raise
        write(connection.defineXMLFlags, xml, 0)


def _create_image(
    connection: libvirt.virConnect, action: CreateImage, read: Call, write: Call
) -> None:
    owner = dac_owner(read(connection.getCapabilities))

    def create() -> None:
        create_image(
            action.path,
            action.size,
            action.format,
            owner=owner,
            backing=action.backing,
            backing_format=action.backing_format,
            preallocation=action.preallocation,
        )

    write(create)


def _perform_on(  # noqa: C901, PLR0912, PLR0915 - one case an action
    domain: libvirt.virDomain,
    action: DomainAction,
    write: Call,
) -> None:
    match action:
        case Record(mark, live):
            where = _LIVE if live else _CONFIG
            element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
            write(domain.setMetadata, element, mark, PREFIX, NAMESPACE, where)
        case SetAutostart(on):
            write(domain.setAutostart, int(on))
        case Start(paused, force_boot):
            flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0
            flags |= libvirt.VIR_DOMAIN_START_FORCE_BOOT if force_boot else 0
            write(domain.createWithFlags, flags)
        case Suspend():
            write(domain.suspend)
        case Resume():
            write(domain.resume)
        case Wake():
            write(domain.pMWakeup)
        case Save():
            write(domain.managedSave)
        case Shutdown(mode):
            _shut_down(domain, mode, write)
        case Destroy():
            write(domain.destroy)
        case InjectNmi():
            write(domain.injectNMI)
        case Dump(path):
            _dump(domain, path, write)
        case Undefine():
            write(domain.undefineFlags, _UNDEFINE)
        case SetVcpus(count):
            write(domain.setVcpusFlags, count, _LIVE)
        case SetMemory(amount):
            write(domain.setMemoryFlags, amount, _LIVE)
        case SetParameter(group, parameter, value):
            setters = {
                "scheduler": domain.setSchedulerParametersFlags,
                "memory": domain.setMemoryParameters,
                "blkio": domain.setBlkioParameters,
            }
            write(setters[group], {parameter: value}, _LIVE)
        case SetText(kind, text):
            # An empty text would stay as an empty element: None removes it.
            write(domain.setMetadata, _TEXTS[kind], text or None, None, None, _LIVE)
        case AddIothread(number):
            write(domain.addIOThread, number, _LIVE)
        case DeleteIothread(number):
            write(domain.delIOThread, number, _LIVE)
        case SetLifecycleAction(event, reaction):
            number, reply = _LIFECYCLE_EVENTS[event], _REACTIONS[reaction]
            write(domain.setLifecycleAction, number, reply, _LIVE)
        case Attach(xml):
            write(domain.attachDeviceFlags, xml, _LIVE)
        case Detach(alias):
            write(domain.detachDeviceAlias, alias, _LIVE)
        case UpdateDevice(xml, force):
            flag = libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE if force else 0
            write(domain.updateDeviceFlags, xml, _LIVE | flag)
        case Throttle(target, limits):
            write(domain.setBlockIoTune, target, dict(limits), _LIVE)
        case LimitInterface(mac, rates):
            write(domain.setInterfaceParameters, mac, dict(rates), _LIVE)
        case GrowDisk(target, size):
            write(domain.blockResize, target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        case _:
            assert_never(action)
