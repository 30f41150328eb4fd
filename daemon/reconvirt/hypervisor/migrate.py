"""Migrating: the one long call of libvirt, its progress, and how it is steered meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, assert_never

import libvirt

from reconvirt.domain.migration import Order, Progress
from reconvirt.domain.migration_actions import (
    AbortMigration,
    EndLeftover,
    Migrate,
    MigrationAction,
    ResumeAfterMigration,
    SetMaxDowntime,
    StartPostCopy,
    SuspendToMigrate,
)
from reconvirt.domain.observed import State
from reconvirt.hypervisor.errors import OperationFailed
from reconvirt.hypervisor.states import name_state

# On libvirt's side the source's daemon leads it (peer to peer): it goes on when we end.
_ALWAYS = (
    libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
)
_UNDEFINE = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM
_OPTIONS = {
    "tunnelled": libvirt.VIR_MIGRATE_TUNNELLED,
    "auto_converge": libvirt.VIR_MIGRATE_AUTO_CONVERGE,
    "compressed": libvirt.VIR_MIGRATE_COMPRESSED,
    "post_copy": libvirt.VIR_MIGRATE_POSTCOPY,
    "suspend": libvirt.VIR_MIGRATE_PAUSED,
    "abort_on_error": libvirt.VIR_MIGRATE_ABORT_ON_ERROR,
    "change_protection": libvirt.VIR_MIGRATE_CHANGE_PROTECTION,
    "unsafe": libvirt.VIR_MIGRATE_UNSAFE,
}
_COPY = {
    "all": libvirt.VIR_MIGRATE_NON_SHARED_DISK,
    "inc": libvirt.VIR_MIGRATE_NON_SHARED_INC,
}


def migrate(domain: libvirt.virDomain, order: Order) -> None:
    """Move a virtual server, and return when libvirt says how it went.

    What it says is not the truth: that is read from both hosts.

    Raises:
        libvirt.libvirtError: as libvirt says.
    """
    domain.migrateToURI3(order.uri, _parameters(order), _flags(order))


def _flags(order: Order) -> int:
    policy = order.policy
    if order.offline:
        offline: int = _ALWAYS | libvirt.VIR_MIGRATE_OFFLINE
        return offline
    flags: int = _ALWAYS | libvirt.VIR_MIGRATE_LIVE
    for name, flag in _OPTIONS.items():
        if getattr(policy, name):
            flags |= flag
    if policy.parallel > 1:
        flags |= libvirt.VIR_MIGRATE_PARALLEL
    # Without a list of disks libvirt would copy all that can be written, shared ones as well.
    if order.copied:
        flags |= _COPY[policy.copy]
    return flags


def _parameters(order: Order) -> dict[str, Any]:
    policy = order.policy
    parameters: dict[str, Any] = {}
    if order.migrate_uri and not policy.tunnelled:
        parameters[libvirt.VIR_MIGRATE_PARAM_URI] = order.migrate_uri
    if order.offline:
        return {}
    if policy.bandwidth:
        parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = policy.bandwidth
    if policy.parallel > 1:
        parameters[libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = policy.parallel
    if order.copied:
        parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = list(order.copied)
    return parameters


def read_progress(domain: libvirt.virDomain) -> Progress | None:
    """How far the migration away from here is; None if none runs."""
    stats = domain.jobStats()
    if stats.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
        return None
    if stats.get("type", libvirt.VIR_DOMAIN_JOB_NONE) == libvirt.VIR_DOMAIN_JOB_NONE:
        return None
    copying = stats.get("disk_remaining", 0) > 0
    return _progress("copying storage" if copying else "copying memory", stats)


def read_completed(domain: libvirt.virDomain) -> Progress | None:
    """What a migration came to, as the host has it where the virtual server has arrived.

    None where libvirt does not know it, as after its restart.
    """
    # Without KEEP nobody else could read it any more (``virsh domjobinfo --completed``).
    keep = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
    stats = domain.jobStats(keep)
    if stats.get("type") != libvirt.VIR_DOMAIN_JOB_COMPLETED:
        return None
    if stats.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN:
        return None
    return _progress("completed", stats)


def _progress(phase: str, stats: Mapping[str, Any]) -> Progress:
    elapsed = stats.get("time_elapsed", 0) / 1000
    page = stats.get("memory_page_size", 4096)
    return Progress(
        phase,
        elapsed,
        stats.get("data_processed", 0),
        stats.get("data_remaining", 0),
        stats.get("data_total", 0),
        stats.get("memory_dirty_rate", 0) * page,
        stats.get("memory_bps", 0) + stats.get("disk_bps", 0),
        stats.get("downtime", 0),
        stats.get("memory_iteration", 0),
        time.time() - elapsed,
    )


def abort(domain: libvirt.virDomain) -> None:
    """End the migration; the virtual server goes on here (``virsh domjobabort``)."""
    domain.abortJob()


def steer(
    domain: libvirt.virDomain,
    action: MigrationAction,
    *,
    read: Callable[..., Any],
    write: Callable[..., Any],
) -> None:
    """Do one thing of a migration.

    Raises:
        libvirt.libvirtError: as libvirt says.
        OperationFailed: what was left behind is not any more what it was.
    """
    match action:
        case Migrate(order):
            write(migrate, domain, order)
        case SetMaxDowntime(milliseconds):
            write(domain.migrateSetMaxDowntime, milliseconds)
        case AbortMigration():
            write(abort, domain)
        case StartPostCopy():
            write(domain.migrateStartPostCopy)
        case SuspendToMigrate():
            write(domain.suspend)
        case ResumeAfterMigration():
            write(domain.resume)
        case EndLeftover(state, reason):
            _end_leftover(domain, (state, reason), read, write)
        case _:
            assert_never(action)


def _end_leftover(
    domain: libvirt.virDomain,
    expected: tuple[State, str],
    read: Callable[..., Any],
    write: Callable[..., Any],
) -> None:
    persistent, active = read(domain.isPersistent), read(domain.isActive)
    found = name_state(*read(domain.state))
    if found != expected:
        told = f"it was {expected[0]} ({expected[1]}), and is {found[0]} ({found[1]}) by now"
        raise OperationFailed(f"{told}: it is left alone")
    if active:
        write(domain.destroy)
    if persistent:
        write(domain.undefineFlags, _UNDEFINE)
