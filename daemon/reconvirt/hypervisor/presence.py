"""Whether what virtual servers need of their host is there, without waiting for anything."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import libvirt

from reconvirt.domain.needs import Need, NeedKind

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


LIBVIRTS = (NeedKind.NETWORK, NeedKind.POOL)
"""What libvirt is asked for; everything else is looked up on the host itself."""


def missing_here(needs: Iterable[Need]) -> Iterator[Need]:
    """The files and network devices that are not on this host, without a call to libvirt.

    What cannot be said counts as being there.
    """
    return (each for each in needs if each.kind not in LIBVIRTS and not _is_there(each))


def inactive(
    needs: Iterable[Need], connection: libvirt.virConnect, read: Callable[..., Any]
) -> Iterator[Need]:
    """The networks and storage pools that are not active; a call for each of the two kinds.

    Args:
        needs: what is needed.
        connection: libvirt.
        read: makes a call that changes nothing.

    Raises:
        libvirt.libvirtError: as libvirt says.
    """
    wanted = list(needs)
    for kind, call, flags in (
        (NeedKind.NETWORK, "listAllNetworks", libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE),
        (NeedKind.POOL, "listAllStoragePools", libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE),
    ):
        needed = [each for each in wanted if each.kind is kind]
        if needed:
            active = {each.name() for each in read(getattr(connection, call), flags)}
            yield from (each for each in needed if each.name not in active)


def _is_there(need: Need) -> bool:
    """Whether a file or a network device is there; true if it cannot be said."""
    if need.kind is NeedKind.NETWORK_DEVICE:
        return _has_device(need.name) or not _has_device("lo")
    try:
        Path(need.name).stat()
    except OSError as error:
        return error.errno not in _NOT_THERE
    except ValueError:
        return True  # a name that cannot be one
    return True


def _has_device(name: str) -> bool:
    # Not by /sys/class/net, which is of the network namespace in which sysfs was mounted, nor by
    # netlink, which the packaged unit may not use.
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True
