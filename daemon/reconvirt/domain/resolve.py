"""Devices that a manifest names by what is stable, and that libvirt wants by what is not.

The adapter and the address of a SCSI tape or medium changer change when the host is started, the
FCP device is set offline and online, and in a migration (chapter 11). So they are looked up anew
each time; a device that is not to be found is refused, and whatever was attached for it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from reconvirt.domain.desired import Desired, Statement, Unresolved
from reconvirt.domain.kinds.host_devices import HOSTDEV
from reconvirt.domain.rows import Stated

_STABLE = ("source.device", "source.wwpn", "source.lun")


@dataclass(frozen=True, slots=True)
class ScsiAddress:
    """Where the host has a SCSI device: ``scsi_host<host>``, bus, target and unit."""

    host: int
    bus: int
    target: int
    unit: int

    @property
    def adapter(self) -> str:
        """The adapter's name, as libvirt wants it."""
        return f"scsi_host{self.host}"


Look = Callable[[str, str, str], "ScsiAddress | str"]
"""(FCP device, WWPN, LUN) → where it is, or why it is not to be found."""


def needs_resolving(desired: Desired) -> bool:
    """Whether a device is named by what is stable."""
    listed = desired.statement.devices.get(HOSTDEV.name, {}).values()
    return any(_is_stable(each) for each in listed)


def resolve(desired: Desired, look: Look) -> Desired:
    """What is wanted, with the devices' present addresses in it."""
    devices: dict[str, Stated] = {}
    unresolved: list[Unresolved] = []
    seen: dict[str, int] = {}
    for stated in desired.statement.devices.get(HOSTDEV.name, {}).values():
        found: Stated = stated
        if _is_stable(stated):
            where = look(*(str(stated[name]) for name in _STABLE))
            if isinstance(where, str):
                unresolved.append(Unresolved(HOSTDEV.name, stated, where))
                continue
            found = {
                **stated,
                "source.adapter.name": where.adapter,
                "source.address.bus": where.bus,
                "source.address.target": where.target,
                "source.address.unit": where.unit,
            }
        devices[HOSTDEV.identify(found, seen)] = found
    resolved = desired.with_devices(HOSTDEV.name, devices)
    return replace(resolved, unresolved=tuple(unresolved))


def keep_unresolved(statement: Statement, desired: Desired, applied: Statement | None) -> Statement:
    """What is wanted, and the devices as they were applied that are not to be found now."""
    before: Mapping[str, Stated] = applied.devices.get(HOSTDEV.name, {}) if applied else {}
    lost = [tuple(each.stated.get(name) for name in _STABLE) for each in desired.unresolved]
    kept = {
        identity: stated
        for identity, stated in before.items()
        if tuple(stated.get(name) for name in _STABLE) in lost
    }
    if not kept:
        return statement
    listed = {**kept, **statement.devices.get(HOSTDEV.name, {})}
    return replace(statement, devices={**statement.devices, HOSTDEV.name: listed})


def _is_stable(stated: Stated) -> bool:
    return all(name in stated for name in _STABLE)
