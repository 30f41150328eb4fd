"""The table of devices: the kinds that a manifest can list, and the rows of their fields."""

from __future__ import annotations

from collections.abc import Mapping

from reconvirt.domain.kinds.characters import CHANNEL, CONSOLE, SERIAL
from reconvirt.domain.kinds.disks import DISK
from reconvirt.domain.kinds.extras import CPU_FEATURE, MEMBALLOON, RNG, TPM, WATCHDOG
from reconvirt.domain.kinds.host_devices import CONTROLLER, HOSTDEV
from reconvirt.domain.kinds.interfaces import INTERFACE
from reconvirt.domain.kinds.screens import GRAPHICS, INPUT, VIDEO
from reconvirt.domain.rows import DeviceKind

# In this order they are plugged and listed: a controller before what is attached to it.
DEVICES: tuple[DeviceKind, ...] = (
    CONTROLLER,
    DISK,
    INTERFACE,
    HOSTDEV,
    SERIAL,
    CONSOLE,
    CHANNEL,
    INPUT,
    GRAPHICS,
    VIDEO,
    RNG,
    WATCHDOG,
    TPM,
    MEMBALLOON,
    CPU_FEATURE,
)

DEVICE_BY_NAME: Mapping[str, DeviceKind] = {row.name: row for row in DEVICES}

KIND_BY_ELEMENT: Mapping[str, DeviceKind] = {
    row.element: row for row in DEVICES if row.where == "devices"
}
