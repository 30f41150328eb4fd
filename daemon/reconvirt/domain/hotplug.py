"""Plugging devices into a running virtual server and taking them back."""

from __future__ import annotations

import copy

from reconvirt.domain.actions import Attach, Detach
from reconvirt.domain.compare import DeviceDifference, index_devices, read_fields
from reconvirt.domain.effects import Effect, Running, Verdict
from reconvirt.domain.patch import render_device
from reconvirt.domain.places import print_xml


def judge_device(difference: DeviceDifference, running: Running) -> Verdict:
    """What can be done about a device that is missing from what runs, or one too many."""
    if difference.wanted is None:
        return _judge_removal(difference)
    if why := difference.kind.hotplug(difference.wanted):
        return Verdict(Effect.NEXT_START, why)
    return Verdict(Effect.LIVE, "it is hotplugged", Attach(_device_xml(difference, running)))


def _device_xml(difference: DeviceDifference, running: Running) -> str:
    """The device as the configuration has it, with its address, so that both stay the same.

    Left to itself libvirt chooses the addresses of the running and of the configured device
    apart from each other; the guest would see the device move at its next start.
    """
    found = index_devices(difference.kind, running.config).get(difference.identity)
    if found is None:
        found = render_device(difference.kind, difference.wanted or {})
    return print_xml(copy.deepcopy(found))


def _judge_removal(difference: DeviceDifference) -> Verdict:
    element, kind = difference.found, difference.kind
    applied = difference.applied or {}
    alias = None if element is None else element.find("alias")
    if element is None or alias is None:
        return Verdict(Effect.NEXT_START, "libvirt gives the device no alias to detach it by")
    behind = read_fields(kind, element, kind.source)
    wanted = {name: applied[name] for name in kind.source if name in applied}
    if behind != wanted:
        there = ", ".join(str(value) for value in behind.values()) or "nothing"
        why = f"behind the device stands {there}, which no manifest put there: detach it by hand"
        return Verdict(Effect.REFUSED, why)
    stated = read_fields(kind, element, tuple(row.name for row in kind.fields))
    if why := kind.hotplug(stated):
        return Verdict(Effect.NEXT_START, why)
    address = element.find("address")
    if address is not None and address.get("type") == "ccw":
        action = Detach(alias.get("name", ""))
        return Verdict(Effect.LIVE, "a channel device is unplugged at once", action)
    return Verdict(Effect.GUEST, "the guest must release it", Detach(alias.get("name", "")))
