"""Another host's libvirt, asked about one virtual server."""

from __future__ import annotations

import libvirt
from lxml import etree

from reconvirt.domain.migration import Destination, Question
from reconvirt.domain.observed import State
from reconvirt.domain.peers import HostIdentity
from reconvirt.hypervisor import block, copies
from reconvirt.hypervisor.errors import is_of_the_way
from reconvirt.hypervisor.states import name_state

_UNKNOWN = (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_CONFIG_UNSUPPORTED)


def find(connection: libvirt.virConnect, uuid: str) -> tuple[State, str] | None:
    """State and reason of a virtual server there; None where there is none."""
    try:
        state, reason = connection.lookupByUUIDString(uuid).state()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise
    return name_state(state, reason)


def identity(connection: libvirt.virConnect) -> HostIdentity:
    """Which host this is, by libvirt's host uuid and its name."""
    root = etree.fromstring(connection.getCapabilities().encode())
    return HostIdentity(root.findtext("host/uuid", ""), connection.getHostname())


def definition(connection: libvirt.virConnect, uuid: str) -> str:
    """The configuration of a virtual server without what each libvirt adds; "" if there is none."""
    flags = (
        libvirt.VIR_DOMAIN_XML_INACTIVE
        | libvirt.VIR_DOMAIN_XML_SECURE
        | libvirt.VIR_DOMAIN_XML_MIGRATABLE
    )
    try:
        found: str = connection.lookupByUUIDString(uuid).XMLDesc(flags)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return ""
        raise
    return found


def inspect(connection: libvirt.virConnect, question: Question) -> Destination:
    """What a destination says about a virtual server.

    Raises:
        libvirt.libvirtError: it cannot be asked.
    """
    there, stranger, arriving = _who(connection, question)
    problem, most = _machine(connection, question)
    return Destination(
        there,
        stranger,
        problem,
        _cpu(connection, question),
        most,
        _free_memory(connection),
        _interfaces(connection),
        frozenset(
            each.name()
            for each in connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
        ),
        arriving,
        copies.image_sizes(connection, question.backing),
        devices=block.device_problems(connection, question.devices),
    )


def _who(connection: libvirt.virConnect, question: Question) -> tuple[State | None, str, int]:
    """The state of the one that is asked about, another one of its name, and how many arrive."""
    there, stranger, arriving = None, "", 0
    groups, nowait = (
        libvirt.VIR_DOMAIN_STATS_STATE,
        libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
    )
    for domain, stats in connection.getAllDomainStats(groups, nowait):
        state, reason = name_state(stats.get("state.state", 0), stats.get("state.reason", 0))
        if domain.UUIDString() == question.uuid:
            there = state
        elif domain.name() == question.name:
            stranger = domain.UUIDString()
        if state is State.PAUSED and reason == "migrating" and domain.isPersistent() == 0:
            arriving += 1
    return there, stranger, arriving


def _machine(connection: libvirt.virConnect, question: Question) -> tuple[str, int]:
    """Why its machine type cannot run there, and how many vCPUs it may have."""
    wanted = (question.emulator or None, question.arch, question.machine, question.kind)
    try:
        text = connection.getDomainCapabilities(*wanted)
    except libvirt.libvirtError as error:
        if is_of_the_way(error):
            raise
        why = error.get_error_message()
        return f"the destination cannot run its machine type, {question.machine}: {why}", 0
    vcpu = etree.fromstring(text.encode()).find("vcpu")
    return "", int(vcpu.get("max", "0")) if vcpu is not None else 0


def _cpu(connection: libvirt.virConnect, question: Question) -> str:
    if not question.cpu:
        return ""
    wanted = (question.emulator or None, question.arch, question.machine, question.kind)
    try:
        result = connection.compareHypervisorCPU(*wanted, question.cpu, 0)
    except libvirt.libvirtError as error:
        # libvirt compares models for KVM only; what it cannot compare it refuses itself.
        if error.get_error_code() in _UNKNOWN or question.kind != "kvm":
            return ""
        why = error.get_error_message()
        return f"the destination cannot run its CPU model, {_model(question)}: {why}"
    if question.kind == "kvm" and result == libvirt.VIR_CPU_COMPARE_INCOMPATIBLE:
        return f"the destination cannot run its CPU model, {_model(question)}"
    return ""


def _model(question: Question) -> str:
    return etree.fromstring(question.cpu).findtext("model", "")


def _free_memory(connection: libvirt.virConnect) -> int:
    """What is free or holds only copies of files, in bytes."""
    stats = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    free = sum(stats.get(name, 0) for name in ("free", "buffers", "cached"))
    return int(free) << 10


def _interfaces(connection: libvirt.virConnect) -> frozenset[str]:
    return frozenset(each.name() for each in connection.listAllInterfaces())
