"""Reading one virtual server from libvirt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libvirt

from reconvirt.domain.mark import NAMESPACE, read_mark, text_of_metadata
from reconvirt.domain.observed import Identity, Observed
from reconvirt.domain.ownership import Marked
from reconvirt.domain.xmltree import parse_xml
from reconvirt.hypervisor.errors import NotResponding, VirtualServerGone, translated
from reconvirt.hypervisor.in_flight import STUCK_SECONDS
from reconvirt.hypervisor.states import name_state

Read = Callable[..., Any]

_SHUT_OFF = -1  # instead of a number

_INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
# Without SECURE the XML lacks passwords, and defining it again would erase them.
_ACTIVE = libvirt.VIR_DOMAIN_XML_SECURE


_STEPS = (STUCK_SECONDS, 30, 60, 300, 900, 3600)
_NOT_THERE = {libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_SUPPORT}


def check_responding(domain: libvirt.virDomain, read: Read) -> None:
    """See that a virtual server's QEMU is not known to hang, by a call that never waits for it.

    Raises:
        NotResponding: a call has been waiting for it for some time; each further one would hang,
            too, and keep one more of libvirtd's threads.
        libvirt.libvirtError: as libvirt says.
    """
    if domain.ID() == -1:
        return
    try:
        state, _details, milliseconds = read(domain.controlInfo, 0)
    except libvirt.libvirtError as error:
        if error.get_error_code() in _NOT_THERE:
            return  # it has just ended, or it is another hypervisor
        raise
    seconds = milliseconds / 1000
    if state == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED and seconds > STUCK_SECONDS:
        name = domain.name()
        # In steps, or each look would be news.
        shown = max(each for each in _STEPS if each < seconds)
        raise NotResponding(
            f"its QEMU has not answered for more than {shown:g} s; nothing can be done about it "
            f"before it does ('virsh domcontrol {name}' shows that, 'virsh destroy {name}' ends it)"
        )


def observe_domain(domain: libvirt.virDomain, read: Read) -> Observed:
    """A virtual server as libvirt has it now.

    The state is read before and after the XML of a running one would be too much asked: a start
    or stop in between is seen as an event and looked at again.
    """
    # libvirt gives the number of one that is shut off as -1, without a call.
    domain_id = domain.ID()
    autostart = bool(read(domain.autostart))
    if domain_id == _SHUT_OFF:
        state, reason = read(domain.state)
        return Observed(
            domain.name(),
            domain.UUIDString(),
            None,
            *name_state(state, reason),
            read_inactive(domain, read),
            None,
            autostart,
            _saved_image(domain, read),
        )
    state, reason = read(domain.state)
    live = read(domain.XMLDesc, _ACTIVE) if state != libvirt.VIR_DOMAIN_SHUTOFF else None
    persistent = bool(read(domain.isPersistent))
    # One that is arriving from another host is not persistent yet, whatever its state.
    asks_for_job = state == libvirt.VIR_DOMAIN_PAUSED or not persistent
    return Observed(
        domain.name(),
        domain.UUIDString(),
        domain_id if live else None,
        *name_state(state, reason),
        read_inactive(domain, read),
        live,
        autostart,
        job=_job(domain, read) if asks_for_job else "",
        persistent=persistent,
    )


def read_inactive(domain: libvirt.virDomain, read: Read) -> str:
    """The configuration: what the next start brings."""
    xml: str = read(domain.XMLDesc, _INACTIVE)
    return xml


def read_marks(connection: libvirt.virConnect, read: Read) -> dict[str, Marked]:
    """All domains that carry reconvirt's metadata in their configuration, by name."""
    marks: dict[str, Marked] = {}
    for domain in read(connection.listAllDomains):
        try:
            with translated():
                xml = read(domain.XMLDesc, libvirt.VIR_DOMAIN_XML_INACTIVE)
        except VirtualServerGone:
            continue
        mark = read_mark(parse_xml(xml)) if NAMESPACE in xml else None
        if mark is not None:
            marks[domain.name()] = Marked(domain.UUIDString(), mark, domain.ID() != _SHUT_OFF)
    return marks


def identify_domain(domain: libvirt.virDomain, read: Read) -> Identity:
    """What tells a domain from others, as it is now."""
    persistent = bool(read(domain.isPersistent))
    # A domain that is not persistent has no configuration to be asked about.
    where = libvirt.VIR_DOMAIN_AFFECT_CONFIG if persistent else libvirt.VIR_DOMAIN_AFFECT_LIVE
    try:
        xml = read(domain.metadata, libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, where)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            raise
        last_applied = None
    else:
        last_applied = text_of_metadata(xml)
    number = domain.ID()
    return Identity(
        domain.UUIDString(),
        domain.name(),
        None if number == _SHUT_OFF else number,
        persistent,
        last_applied,
    )


def _saved_image(domain: libvirt.virDomain, read: Read) -> str | None:
    """The XML of the saved system image."""
    if not read(domain.hasManagedSaveImage):
        return None
    xml: str = read(domain.managedSaveGetXMLDesc, libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE)
    return xml


_JOBS = {
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN: "incoming migration",
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT: "migration",
    libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE: "save",
    libvirt.VIR_DOMAIN_JOB_OPERATION_DUMP: "dump",
    libvirt.VIR_DOMAIN_JOB_OPERATION_START: "start",
    libvirt.VIR_DOMAIN_JOB_OPERATION_RESTORE: "restore",
}


def _job(domain: libvirt.virDomain, read: Read) -> str:
    """What libvirt is doing with a virtual server that is paused, or not persistent.

    Its reason does not tell: one that was restored from an image saved in the paused state stays
    "migrating" for ever.
    """
    try:
        stats = read(domain.jobStats)
    except libvirt.libvirtError as error:
        # "migration statistics are available only on the source host"
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
            raise
        return "incoming migration"
    if stats.get("type", libvirt.VIR_DOMAIN_JOB_NONE) == libvirt.VIR_DOMAIN_JOB_NONE:
        return ""
    return _JOBS.get(stats.get("operation", 0), "job")
