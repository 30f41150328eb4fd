"""libvirt's errors, typed by what the caller does next.

::

    HypervisorError                 something went wrong with libvirt
    ├── HypervisorDown              wait for the connection, then look again
    │   └── NoAnswer                it has not answered in time: the same
    ├── VirtualServerGone           it is not there any more: look again
    ├── Underway                    it was asked for before, and the guest has not answered
    ├── Busy                        another job holds the virtual server: try again later
    │   └── NotResponding           its QEMU has not answered for some time: the same
    ├── Aborted                     a job was ended by whom it may concern: leave it at that
    ├── NotLive                     not possible while it runs: it waits for the next start
    ├── Rejected                    libvirt will never take this: wait for another manifest
    └── OperationFailed             it failed this time: try again, less and less often
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import libvirt

from reconvirt.hypervisor.images import ImageError


class HypervisorError(Exception):
    """Something went wrong with libvirt; the text is for people."""


class HypervisorDown(HypervisorError):
    """There is no connection to libvirt."""


class NoAnswer(HypervisorDown):
    """libvirt has not answered in time, or earlier calls have not come back."""


class VirtualServerGone(HypervisorError):
    """libvirt has no such virtual server any more."""


class Underway(HypervisorError):
    """The guest has been asked for this before."""


class Busy(HypervisorError):
    """Another job holds the virtual server."""


class NotResponding(Busy):
    """A virtual server's QEMU has not answered for some time: calls about it would hang, too."""


class Aborted(HypervisorError):
    """Somebody has ended a job on purpose (``virsh domjobabort``)."""


class NotLive(HypervisorError):
    """libvirt cannot do this while the virtual server runs."""


class Rejected(HypervisorError):
    """libvirt does not accept the definition."""


class OperationFailed(HypervisorError):
    """libvirt or QEMU failed to do it."""


_TRANSPORT = {libvirt.VIR_FROM_REMOTE, libvirt.VIR_FROM_RPC}
_BROKEN = {
    libvirt.VIR_ERR_SYSTEM_ERROR,
    libvirt.VIR_ERR_INTERNAL_ERROR,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_NO_CONNECT,
}
_BY_CODE: dict[int, type[HypervisorError]] = {
    libvirt.VIR_ERR_NO_CONNECT: HypervisorDown,
    libvirt.VIR_ERR_INVALID_CONN: HypervisorDown,
    libvirt.VIR_ERR_NO_DOMAIN: VirtualServerGone,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: Busy,
    libvirt.VIR_ERR_RESOURCE_BUSY: Busy,
    libvirt.VIR_ERR_OPERATION_ABORTED: Aborted,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED: NotLive,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: NotLive,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: NotLive,
    libvirt.VIR_ERR_NO_SUPPORT: NotLive,
    libvirt.VIR_ERR_XML_ERROR: Rejected,
    libvirt.VIR_ERR_XML_DETAIL: Rejected,
    libvirt.VIR_ERR_XML_INVALID_SCHEMA: Rejected,
    libvirt.VIR_ERR_INVALID_ARG: Rejected,
}
# QEMU's refusals reach us as internal errors; only their words tell them from passing failures.
_VAGUE = {libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_OPERATION_FAILED}
# The last one is libvirt 9.0 plugging an empty CD-ROM drive.
_NO_HOTPLUG = re.compile(
    r"hot ?(un)?plug|No more available PCI slots|argument key 'filename' must not have null",
    re.IGNORECASE,
)
_LOCKED_TRAY = re.compile(r"open tray of|is locked and force was not specified")


def is_of_the_way(error: libvirt.libvirtError) -> bool:
    """Whether the way to libvirt's daemon has failed: it says nothing of what was asked."""
    return error.get_error_domain() in _TRANSPORT


def translate(error: libvirt.libvirtError) -> HypervisorError:
    """The error of the tree above that stands for one of libvirt's."""
    code = error.get_error_code() or 0
    message = " ".join(str(error.get_error_message() or error).split())
    if is_of_the_way(error) and code in _BROKEN:
        return HypervisorDown(message)
    if code in _VAGUE and "already in the process of unplug" in message:
        return Underway(message)
    if code in _VAGUE and _NO_HOTPLUG.search(message):
        return NotLive(message)
    if code in _VAGUE and _LOCKED_TRAY.search(message):
        hint = "'policy: {media: force}' changes the medium all the same"
        return OperationFailed(f"the guest has locked the drive's tray; {hint}: {message}")
    return _BY_CODE.get(code, OperationFailed)(message)


@contextmanager
def translated() -> Iterator[None]:
    """libvirt's errors inside the block come out as ours.

    Raises:
        HypervisorError: the one that fits.
    """
    try:
        yield
    except libvirt.libvirtError as error:
        raise translate(error) from error
    except ImageError as error:
        raise OperationFailed(str(error)) from error
