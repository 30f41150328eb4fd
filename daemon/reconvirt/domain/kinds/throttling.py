"""How much I/O a disk may do (``virDomainSetBlockIoTune``, chapter 25's blkdeviotune)."""

from __future__ import annotations

from reconvirt.domain import values
from reconvirt.domain.effects import Way, with_device
from reconvirt.domain.places import Text
from reconvirt.domain.rows import Field

_LIMIT = with_device(Way.THROTTLE, "libvirt limits the disk's I/O at once", "")

_LIMIT_TITLES = {
    "bytes_sec": "bytes a second",
    "iops_sec": "requests a second",
    "bytes_sec_max": "bytes a second in a burst",
    "iops_sec_max": "requests a second in a burst",
    "bytes_sec_max_length": "length of a burst of bytes, in seconds",
    "iops_sec_max_length": "length of a burst of requests, in seconds",
}
_DIRECTIONS = {"total": "Read and written", "read": "Read", "write": "Written"}

_LIMITS = tuple(
    Field(
        f"iotune.{direction}_{limit}",
        values.integer(0, 2**63 - 1),
        _LIMIT,
        f"{whole}, {title}",
        f"The most that is {whole.lower()}: {title}; 0 is no limit.",
        place=Text(f"iotune/{direction}_{limit}"),
    )
    for limit, title in _LIMIT_TITLES.items()
    for direction, whole in _DIRECTIONS.items()
)

THROTTLING_ROWS: tuple[Field, ...] = (
    *_LIMITS,
    Field(
        "iotune.size_iops_sec",
        values.integer(0, 2**63 - 1),
        _LIMIT,
        "Size of a request",
        "A request of more bytes than this counts as several; 0 for no such rule.",
        place=Text("iotune/size_iops_sec"),
    ),
    Field(
        "iotune.group_name",
        values.line(),
        _LIMIT,
        "Group",
        "Disks of one group share their limits.",
        place=Text("iotune/group_name"),
    ),
)
"""The rows below ``iotune`` of a disk."""
