"""Plugging devices into a running virtual server, changing them there, and taking them back."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from reconvirt.domain.actions import Attach, Detach, LimitInterface, Throttle, UpdateDevice
from reconvirt.domain.compare import (
    DeviceDifference,
    Difference,
    FieldDifference,
    PieceDifference,
    index_devices,
    read_fields,
)
from reconvirt.domain.device_xml import render_device
from reconvirt.domain.devices import KIND_BY_ELEMENT
from reconvirt.domain.effects import Effect, Running, Verdict, Way
from reconvirt.domain.fragment import DEVICES, index_pieces, piece_key
from reconvirt.domain.kinds.disks import DRIVES
from reconvirt.domain.kinds.host_devices import CONTROLLER
from reconvirt.domain.patch import place_device
from reconvirt.domain.policy import Policy
from reconvirt.domain.rows import DeviceKind, Stated
from reconvirt.domain.xmltree import parse_xml, print_xml, prune

if TYPE_CHECKING:
    from lxml.etree import _Element

_ALWAYS_PLUGGABLE = frozenset({"shmem", "redirdev", "vsock", "memory", "filesystem", "lease"})
_IN_USE = Verdict(Effect.NEXT_START, "devices are still behind it")
_GONE = Verdict(Effect.NEXT_START, "libvirt gives the device no alias to detach it by")


def judge_device(difference: DeviceDifference, running: Running) -> Verdict:
    """What can be done about a device that is missing from what runs, or one too many."""
    if difference.wanted is None:
        if _is_in_use(difference, running.live):
            return _IN_USE
        return judge_removal(difference.kind, difference.found, difference.applied, running)
    if why := difference.kind.hotplug(difference.wanted):
        return Verdict(Effect.NEXT_START, why)
    return Verdict(Effect.LIVE, "it is hotplugged", Attach(_device_xml(difference, running)))


def _is_in_use(difference: DeviceDifference, live: _Element) -> bool:
    """Whether a controller that shall go still has devices behind it; libvirt calls it busy."""
    controller = difference.found
    if difference.kind is not CONTROLLER or controller is None or controller.get("type") != "scsi":
        return False
    index = controller.get("index", "0")
    for device in live.iterfind("devices/*"):
        address = device.find("address[@type='drive']")
        if address is not None and _is_scsi(device) and address.get("controller", "0") == index:
            return True
    return False


def _is_scsi(device: _Element) -> bool:
    """Whether it is a disk or host device behind a SCSI controller."""
    target = device.find("target")
    return (device.get("type") if target is None else target.get("bus")) == "scsi"


def _device_xml(difference: DeviceDifference, running: Running) -> str:
    """The device as the configuration has it, with its address, so that both stay the same.

    Left to itself libvirt chooses the addresses of the running and of the configured device
    apart from each other; the guest would see the device move at its next start.
    """
    found = index_devices(difference.kind, running.config).get(difference.identity)
    if found is not None:
        return _pluggable(found, running)
    element = render_device(difference.kind, difference.wanted or {})
    place_device(element, running.live, running.config)
    return _pluggable(element, running)


def _pluggable(device: _Element, running: Running) -> str:
    """The text of a device as it can be plugged in."""
    element = copy.deepcopy(device)
    if running.live.find("os/boot") is not None:
        # libvirt takes no device with an order beside it; the order waits for the next start.
        prune(element, "boot")
    return print_xml(element)


def judge_controllers(difference: Difference, running: Running) -> Iterator[Verdict]:
    """The controllers that must be plugged before a device, at the addresses they are stored with.

    libvirt adds those that a SCSI device needs by itself, up to the one that it is behind; but in
    what runs it would choose their addresses anew, and take those that are kept for others.
    """
    last = _last_controller(difference, running)
    plugged = index_devices(CONTROLLER, running.live)
    for identity, controller in index_devices(CONTROLLER, running.config).items():
        is_needed = controller.get("type") == "scsi" and int(controller.get("index", "0")) <= last
        if is_needed and identity not in plugged:
            action = Attach(print_xml(copy.deepcopy(controller)))
            yield Verdict(Effect.LIVE, "its controller is hotplugged before it", action)


def _last_controller(difference: Difference, running: Running) -> int:
    """The index of the controller that a new SCSI device is behind; -1 for other differences."""
    if isinstance(difference, FieldDifference) or difference.found is not None:
        return -1
    key = (
        difference.key
        if isinstance(difference, PieceDifference)
        else piece_key(difference.kind.element, difference.identity)
    )
    device = index_pieces(running.config).get(key)
    address = None if device is None else device.find("address")
    if device is None or address is None or address.get("type") != "drive":
        return -1
    return int(address.get("controller", "0")) if _is_scsi(device) else -1


def judge_removal(
    kind: DeviceKind, element: _Element | None, applied: Stated | None, running: Running
) -> Verdict:
    """What can be done about a device of what runs that shall not be there.

    libvirt detaches whatever has the same target. So what stands behind the device is compared
    with what was applied, and the device is named by its alias.
    """
    alias = None if element is None else element.find("alias")
    if element is None or alias is None:
        return _GONE
    behind = read_fields(kind, element, kind.source)
    known = {name: applied[name] for name in kind.source if name in applied} if applied else {}
    if applied is not None and behind != known and known:
        there = ", ".join(str(value) for value in behind.values()) or "nothing"
        why = f"behind the device stands {there}, which no manifest put there: detach it by hand"
        return Verdict(Effect.REFUSED, why)
    stated = read_fields(kind, element, tuple(row.name for row in kind.fields))
    if why := kind.hotplug(stated):
        return Verdict(Effect.NEXT_START, why)
    return _detach(element, alias, running)


def _detach(element: _Element, alias: _Element, running: Running) -> Verdict:
    address = element.find("address")
    action = Detach(alias.get("name", ""))
    if address is not None and address.get("type") == "ccw":
        return Verdict(Effect.LIVE, "a channel device is unplugged at once", action)
    if running.paused:
        return Verdict(Effect.GUEST, "the guest is paused and cannot release it")
    return Verdict(Effect.GUEST, "the guest must release it", action)


def judge_changes(
    difference: DeviceDifference, running: Running, policy: Policy
) -> Iterator[tuple[FieldDifference, Verdict]]:
    """What can be done about the changed fields of a device that is plugged in."""
    ways: dict[tuple[Way, str], list[FieldDifference]] = {}
    for field in difference.fields:
        way = _way(field, difference)
        # Fields of one element of an interface go together; a medium, or a limit, as a whole.
        group = field.row.name.partition(".")[0] if way is Way.UPDATE else ""
        ways.setdefault((way, group), []).append(field)
    for (way, _group), fields in ways.items():
        together = _judge_together(way, difference, fields, policy)
        for field in fields:
            rule = field.row.effects.rule
            alone = () if together else rule(running, field.found, field.wanted)
            for verdict in (together,) if together else alone:
                yield field, verdict


def _judge_together(
    way: Way, difference: DeviceDifference, fields: Iterable[FieldDifference], policy: Policy
) -> Verdict | None:
    """What can be done about several fields in one call; None if there is no such call."""
    match way:
        case Way.UPDATE:
            return _update(difference, fields, "libvirt changes it while it is plugged in")
        case Way.MEDIUM:
            force = policy.media == "force"
            return _update(difference, fields, "the medium is changed", force=force)
        case Way.THROTTLE:
            return _throttle(difference)
        case Way.RATE:
            return _rate(difference)
        case Way.NONE | Way.IMAGE:
            return None


def _way(field: FieldDifference, difference: DeviceDifference) -> Way:
    """By what a field of this very device can be changed."""
    way, wanted = field.row.effects.way, difference.wanted or {}
    if way in (Way.UPDATE, Way.RATE) and any(each.row.name == "type" for each in difference.fields):
        return Way.NONE
    if way is Way.MEDIUM and wanted.get("device") not in DRIVES:
        return Way.NONE
    return way


def _update(
    difference: DeviceDifference,
    fields: Iterable[FieldDifference],
    why: str,
    *,
    force: bool = False,
) -> Verdict:
    """The whole device as it runs, with only these fields changed: what is left out is removed."""
    element = copy.deepcopy(difference.found)
    if element is None:
        return _GONE
    for field in fields:
        if field.row.name.startswith("source."):
            # What libvirt has found out about the present source is not true of the next.
            for name in ("portid", "index"):
                _forget(element, name)
            if element.get("type") == "network":
                _forget(element, "bridge")
            prune(element, "backingStore")
        if field.wanted is None:
            field.row.place.drop(element)
        else:
            field.row.place.put(element, field.row.kind.write(field.wanted))
    source = element.find("source")
    if element.tag == "disk" and source is not None:
        wrong = "dev" if element.get("type") == "file" else "file"
        source.attrib.pop(wrong, "")
    return Verdict(Effect.LIVE, why, UpdateDevice(print_xml(element), force))


def _forget(element: _Element, name: str) -> None:
    source = element.find("source")
    if source is not None:
        source.attrib.pop(name, "")


def _throttle(difference: DeviceDifference) -> Verdict:
    """All limits that the manifest states, and none where it states one no longer."""
    wanted = difference.wanted or {}
    removed = {each.row.name for each in difference.fields if each.wanted is None}
    limits: dict[str, int | str] = {}
    for row in difference.kind.fields:
        if row.effects.way is Way.THROTTLE:
            name = row.name.partition(".")[2]
            if (value := wanted.get(row.name)) is not None:
                limits[name] = value
            elif row.name in removed and name != "group_name":
                limits[name] = 0
    action = Throttle(str(wanted.get("target.dev")), tuple(sorted(limits.items())))
    return Verdict(Effect.LIVE, "libvirt limits the disk's I/O at once", action)


def _rate(difference: DeviceDifference) -> Verdict:
    """All rates that the manifest states, and none where it states one no longer."""
    wanted = difference.wanted or {}
    removed = {each.row.name for each in difference.fields if each.wanted is None}
    rates: dict[str, int] = {}
    for row in difference.kind.fields:
        if row.effects.way is Way.RATE and (row.name in wanted or row.name in removed):
            rates[row.name.partition(".")[2]] = int(wanted.get(row.name, 0))
    action = LimitInterface(str(wanted.get("mac.address")), tuple(sorted(rates.items())))
    return Verdict(Effect.LIVE, "libvirt limits the interface at once", action)


def judge_piece(difference: PieceDifference, running: Running) -> Verdict | None:
    """What can be done about a piece of ``spec.xml``; None where its device is judged anyway."""
    is_device = difference.key.startswith(f"{DEVICES}.")
    if is_device and difference.found is None:
        if difference.listed is not None:
            return None
        return _judge_new_piece(difference, running)
    if is_device and difference.wanted is None and difference.listed is None:
        element = difference.found
        alias = None if element is None else element.find("alias")
        if element is None or alias is None or (why := _no_hotplug(element)):
            return Verdict(Effect.NEXT_START, why if alias is not None else _GONE.reason)
        return _detach(element, alias, running)
    why = "reconvirt knows no live change for what spec.xml says"
    return Verdict(Effect.NEXT_START, why)


def _judge_new_piece(difference: PieceDifference, running: Running) -> Verdict:
    found = index_pieces(running.config).get(difference.key)
    element = parse_xml(difference.wanted or "") if found is None else found
    if why := _no_hotplug(element):
        return Verdict(Effect.NEXT_START, why)
    return Verdict(Effect.LIVE, "it is hotplugged", Attach(_pluggable(element, running)))


def _no_hotplug(element: _Element) -> str:
    """Why a device of ``spec.xml`` cannot be plugged; "" if it can."""
    kind = KIND_BY_ELEMENT.get(str(element.tag))
    if kind is not None:
        return kind.hotplug(read_fields(kind, element, tuple(row.name for row in kind.fields)))
    if element.tag in _ALWAYS_PLUGGABLE:
        return ""
    return f"libvirt cannot plug a {element.tag} into a running virtual server"
