"""What libvirt is asked about storage: what runs has open, where volumes are, and block jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libvirt

from reconvirt.domain.disk_uses import disk_names
from reconvirt.hypervisor.observe import check_responding
from reconvirt.hypervisor.storage_use import ActiveDomain

XML_SECONDS = 3.0
"""How long reading the XML of one domain may take: newer libvirts wait for a job of it."""

Read = Callable[..., Any]


def list_active(connection: libvirt.virConnect, read: Read) -> list[ActiveDomain]:
    """All domains that run."""
    domains = read(connection.listAllDomains, libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    return [ActiveDomain(each.UUIDString(), each.name(), each.ID()) for each in domains]


def active_xml(connection: libvirt.virConnect, uuid: str, read: Read) -> str:
    """The active XML of a domain."""
    return str(read(read(connection.lookupByUUIDString, uuid).XMLDesc))


def volume_path(connection: libvirt.virConnect, volume: str, read: Read) -> str:
    """Where a volume is, by the names of its pool and its own: ``pool/volume``."""
    pool, _, name = volume.partition("/")
    found = read(connection.storagePoolLookupByName, pool)
    return str(read(read(found.storageVolLookupByName, name).path))


def block_jobs(connection: libvirt.virConnect, uuid: str, read: Read) -> tuple[str, ...]:
    """The disks of a domain, by target.dev, that a block job works on.

    libvirt writes a ``<mirror>`` for a copy and an active commit, and nothing for others.
    """
    domain = read(connection.lookupByUUIDString, uuid)
    if not read(domain.isActive):
        return ()
    check_responding(domain, read)
    names = disk_names(read(domain.XMLDesc))
    return tuple(each for each in names if read(domain.blockJobInfo, each))
