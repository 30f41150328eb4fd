"""Whether what virtual servers need of their host is there, without waiting for anything."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import libvirt

from reconvirt.domain.needs import Need, NeedKind

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


def missing(
    needs: Iterable[Need],
    connection: libvirt.virConnect,
    read: Callable[..., Any],
    *,
    is_local: bool,
) -> tuple[Need, ...]:
    """Those that are not there; of what cannot be checked it is assumed that it is there.

    At most two calls, and none where neither a network nor a storage pool is needed.

    Args:
        needs: what is needed.
        connection: libvirt.
        read: makes a call that changes nothing.
        is_local: whether libvirt runs on this host, and opens the files that we see.

    Raises:
        libvirt.libvirtError: as libvirt says.
    """
    wanted = sorted(needs)
    kinds = {each.kind for each in wanted}
    lists = {
        NeedKind.NETWORK: (
            connection.listAllNetworks,
            libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE,
        ),
        NeedKind.POOL: (
            connection.listAllStoragePools,
            libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE,
        ),
    }
    active = {
        kind: {each.name() for each in read(call, flags)}
        for kind, (call, flags) in lists.items()
        if kind in kinds
    }
    found = []
    for need in wanted:
        if need.kind in active:
            is_there = need.name in active[need.kind]
        else:
            is_there = not is_local or _is_there(need)
        if not is_there:
            found.append(need)
    return tuple(found)


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
