"""Changing a domain's XML: create is the same patch on an empty domain.

Only the places that differ are written, in a copy of libvirt's current inactive XML, so that
uuid, MAC and device addresses stay what they are. libvirt moves devices to other addresses when
it is given a definition without them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lxml import etree

from reconvirt.domain.compare import DeviceDifference, Difference, FieldDifference
from reconvirt.domain.places import reach
from reconvirt.domain.rows import DeviceKind, Field, Stated

if TYPE_CHECKING:
    from lxml.etree import _Element


def empty_domain(name: str, uuid: str) -> _Element:
    """A domain of which nothing but its name and uuid is known."""
    root = etree.Element("domain")
    reach(root, "name").text = name
    reach(root, "uuid").text = uuid
    reach(root, "os/type").text = "hvm"
    return root


def patch(
    root: _Element, differences: Iterable[Difference], running: _Element | None = None
) -> _Element:
    """A copy of the domain in which the differences are made good.

    Args:
        root: the current ``<domain>``; it stays as it is.
        differences: what :func:`~reconvirt.domain.compare.compare` found.
        running: the running domain, whose device numbers new devices must not take.
    """
    patched = copy.deepcopy(root)
    counterpart = dict(zip(root.iter(), patched.iter(), strict=True))
    devices = [each for each in differences if isinstance(each, DeviceDifference)]
    for device in devices:
        if device.found is None:
            _add_device(patched, device, running)
        else:
            _change_device(counterpart[device.found], device)
    # After the devices: the number of I/O threads depends on which ones are in use.
    for difference in differences:
        if isinstance(difference, FieldDifference):
            _write(difference.row, patched, difference)
    return patched


def render_device(kind: DeviceKind, stated: Stated) -> _Element:
    """A new device's element."""
    element = etree.Element(kind.element)
    _put(kind, element, stated)
    return element


def _add_device(root: _Element, difference: DeviceDifference, running: _Element | None) -> None:
    element = render_device(difference.kind, difference.wanted or {})
    if running is not None and element.find("address") is None and _is_channel_device(element):
        _reserve_device_number(element, root, running)
    reach(root, "devices").append(element)


def _change_device(element: _Element, difference: DeviceDifference) -> None:
    if difference.wanted is None:
        parent = element.getparent()
        if parent is not None:
            parent.remove(element)
        return
    for field in difference.fields:
        if field.wanted is None:
            field.row.place.drop(element)
    _put(difference.kind, element, difference.wanted)


def _put(kind: DeviceKind, element: _Element, stated: Stated) -> None:
    for row in kind.fields:
        if (value := stated.get(row.name)) is not None:
            row.place.put(element, row.kind.write(value))


def _write(row: Field, root: _Element, difference: FieldDifference) -> None:
    if difference.wanted is None:
        row.place.drop(root)
    else:
        row.place.put(root, row.kind.write(difference.wanted))


def _is_channel_device(element: _Element) -> bool:
    """Whether libvirt would give it a channel address on s390x."""
    if element.tag == "disk":
        target = element.find("target")
        return target is not None and target.get("bus") == "virtio"
    return element.tag == "interface"


def _reserve_device_number(element: _Element, root: _Element, running: _Element) -> None:
    """Choose a device number that is free in the configuration and in the running domain.

    libvirt would choose the lowest that is free in the configuration alone; with a device that
    was plugged only into the running domain, the new one would come up elsewhere after the next
    start, and the guest would give its interface another name.
    """
    here, there = set(_device_numbers(root)), set(_device_numbers(running))
    if there <= here:
        return
    free = next(number for number in range(0x10000) if number not in here | there)
    address = reach(element, "address")
    numbers = {"type": "ccw", "cssid": "0xfe", "ssid": "0x0", "devno": f"0x{free:04x}"}
    for name, number in numbers.items():
        address.set(name, number)


def _device_numbers(root: _Element) -> Iterator[int]:
    for address in root.iterfind("devices/*/address[@type='ccw']"):
        if int(address.get("ssid", "0"), 16) == 0:
            yield int(address.get("devno", "0"), 16)
