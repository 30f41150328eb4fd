"""What the paths in domain XML are for."""

from __future__ import annotations

import functools
import re
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element


class Purpose(StrEnum):
    """What a path is for; the value is the setting of the host's configuration that allows it."""

    DISK = "disk_roots"
    BOOT = "boot_roots"
    LOG = "log_roots"
    DUMP = "dump_roots"
    SOCKET = "socket_roots"
    DEVICE = "device_roots"
    SHARE = "share_roots"
    OTHER = "other_roots"
    EMULATOR = "emulators"


_CHARACTER = r"devices/(serial|console|parallel|channel|smartcard|redirdev|rng/backend)"
_CHARACTER_PATH = re.compile(rf"{_CHARACTER}(/protocol)?/source@path")
_BY_TYPE = {
    "file": Purpose.LOG,
    "unix": Purpose.SOCKET,
    "pipe": Purpose.SOCKET,
    "dev": Purpose.DEVICE,
}

# The first row whose place, an element's path with @ATTRIBUTE or without for its text, fits.
_ROWS: tuple[tuple[str, Purpose | None], ...] = (
    (r"devices/emulator", Purpose.EMULATOR),
    (r"os/(kernel|initrd|dtb|loader|nvram|acpi/table|nvram/source@(file|dev))", Purpose.BOOT),
    (r"os/(nvram@template|loader@.*)", Purpose.BOOT),
    (r"devices/\w+/rom@file", Purpose.BOOT),
    (r"devices/disk(/\w+)*/source@(file|dev|dir)", Purpose.DISK),
    (r"devices/disk/source@name", None),  # within a network's or libvirt's own storage
    (r"devices/disk(/\w+)*/(source@path|source/host@socket|host@socket)", Purpose.SOCKET),
    (r"devices/memory/source/path|blkiotune/device/path", Purpose.DISK),
    (r"devices/\w+/log@file", Purpose.LOG),
    (r"devices/graphics@socket|devices/graphics/listen@socket", Purpose.SOCKET),
    (r"devices/shmem/server@path|devices/interface/source@path", Purpose.SOCKET),
    (r"devices/tpm/backend/source@path", Purpose.SOCKET),
    (r"devices/tpm/backend/device@path", Purpose.DEVICE),
    (r"devices/rng/backend", Purpose.DEVICE),
    (r"devices/interface/backend@(tap|vhost)", Purpose.DEVICE),
    (r"devices/input/source@dev|devices/\w+(/\w+)?@rendernode", Purpose.DEVICE),
    (r"devices/hostdev/source/(block|char)", Purpose.DEVICE),
    (r"devices/filesystem/source@(dir|file|dev|socket)", Purpose.SHARE),
    (r"devices/filesystem/target@dir", None),  # the guest's name for it
    (r"name|title|description|os/cmdline|metadata/.*|resource/partition", None),
    (r"sysinfo/\w+/entry", None),
)
_TABLE = tuple((re.compile(pattern), purpose) for pattern, purpose in _ROWS)


def purpose_of(element: _Element, where: str, name: str, value: str) -> Purpose | None:
    """What a value is the path for; None if it is no path.

    Args:
        element: the element that has it.
        where: where that stands, such as ``devices/disk/source``.
        name: the attribute, or "" for the text.
        value: the value.
    """
    place = f"{where}@{name}" if name else where
    if name == "path" and _CHARACTER_PATH.fullmatch(place):
        return _of_character_device(element, value)
    known, purpose = _row_of(place)
    if known:
        # A yes, no or other word beside it is no path, whatever row it fits.
        return purpose if "/" in value or purpose in _ALWAYS else None
    return Purpose.OTHER if value.startswith("/") else None


@functools.lru_cache(maxsize=4096)
def _row_of(place: str) -> tuple[bool, Purpose | None]:
    for pattern, purpose in _TABLE:
        if pattern.fullmatch(place):
            return True, purpose
    return False, None


_ALWAYS = {Purpose.DISK, Purpose.SHARE, Purpose.EMULATOR}


def _of_character_device(element: _Element, value: str) -> Purpose | None:
    """By the type of the device, which may stand at its element or at its backend's."""
    kinds = (each.get("type", "") for each in (element, *element.iterancestors()))
    kind = next(filter(None, kinds), "")
    if kind == "pty" and value.startswith("/dev/pts/") and ".." not in value:
        return None  # libvirt tells it, and takes no notice of it
    return _BY_TYPE.get(kind, Purpose.OTHER)
