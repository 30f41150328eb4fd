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

from reconvirt.domain.compare import (
    DeviceDifference,
    Difference,
    FieldDifference,
    PieceDifference,
    index_devices,
)
from reconvirt.domain.device_xml import put_fields, render_device
from reconvirt.domain.devices import KIND_BY_ELEMENT
from reconvirt.domain.disk_source import SOURCE_FIELDS
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.fragment import DEVICES, index_pieces, merge, withdraw
from reconvirt.domain.joint_places import BootDevices
from reconvirt.domain.kinds.disks import DISK
from reconvirt.domain.rows import Field, Stated
from reconvirt.domain.xmltree import is_bare, parse_xml, prune, reach, remove

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
    root: _Element,
    differences: Iterable[Difference],
    running: _Element | None = None,
    *,
    stated: Stated | None = None,
) -> _Element:
    """A copy of the domain in which the differences are made good.

    Args:
        root: the current ``<domain>``; it stays as it is.
        differences: what :func:`~reconvirt.domain.compare.compare` found.
        running: the running domain, whose device numbers new devices must not take.
        stated: all fields that the manifest states.
    """
    patched = copy.deepcopy(root)
    counterpart = dict(zip(root.iter(), patched.iter(), strict=True))
    differences = tuple(differences)
    for device in differences:
        if isinstance(device, DeviceDifference):
            if device.found is None:
                _add_device(patched, device, running)
            else:
                _change_device(counterpart[device.found], device)
    _change_pieces(patched, [each for each in differences if isinstance(each, PieceDifference)])
    # After the devices: the number of I/O threads depends on which ones are in use.
    for difference in differences:
        if isinstance(difference, FieldDifference):
            _write(difference.row, patched, difference)
    if patched.find("devices/*/boot[@order]") is not None:
        # libvirt has added <boot dev='hd'/> to <os>, and takes none beside an order of devices.
        BootDevices().drop(patched)
    _put_displaced(patched, stated or {})
    return patched


def place_device(element: _Element, config: _Element, running: _Element | None) -> None:
    """Choose an address for a new channel device that is free in both layers.

    libvirt would choose the lowest that is free in one of them alone; with a device that was
    plugged only into the running domain, the new one would come up elsewhere after the next
    start, and the guest would give its interface another name.
    """
    if running is not None and element.find("address") is None and _is_channel_device(element):
        _reserve_device_number(element, config, running)


def _add_device(root: _Element, difference: DeviceDifference, running: _Element | None) -> None:
    element = render_device(difference.kind, difference.wanted or {})
    _keep_address(difference, element, running)
    place_device(element, root, running)
    reach(root, difference.kind.where).append(element)


def _keep_address(
    difference: DeviceDifference, element: _Element, running: _Element | None
) -> None:
    """A device that is plugged in already shall stay where it is when it becomes persistent."""
    if running is None or element.find("address") is not None:
        return
    plugged = index_devices(difference.kind, running).get(difference.identity)
    address = None if plugged is None else plugged.find("address")
    if address is not None:
        element.append(copy.deepcopy(address))


def _change_device(element: _Element, difference: DeviceDifference) -> None:
    if difference.wanted is None:
        remove(element)
        return
    for field in difference.fields:
        if field.wanted is None:
            field.row.place.drop(element)
    moves = any(each.row.name in SOURCE_FIELDS for each in difference.fields)
    if difference.kind is DISK and moves:
        # libvirt keeps the chain of a disk that was on an overlay or a copy in its configuration;
        # below another image it would show the guest a mixture of both.
        for name in ("backingStore", "mirror"):
            prune(element, name)
    # All of them, in their order: a changed bus has displaced a stated address.
    put_fields(difference.kind, element, difference.wanted)


def _change_pieces(root: _Element, pieces: list[PieceDifference]) -> None:
    for piece in pieces:
        if piece.wanted is not None:
            _put_piece(root, piece, piece.wanted)
    # Looked up at once: of devices that only their order tells apart, one that goes counts no more.
    there = index_pieces(root)
    for piece in pieces:
        if piece.wanted is None and piece.key in there:
            _remove_piece(there[piece.key], piece)


def _remove_piece(found: _Element, difference: PieceDifference) -> None:
    if difference.applied is None:
        return
    if difference.key.startswith(f"{DEVICES}.") and difference.listed is None:
        remove(found)
        return
    withdraw(found, parse_xml(difference.applied), None)
    _put_listed(found, difference)
    if is_bare(found):
        remove(found)


def _put_piece(root: _Element, difference: PieceDifference, piece: str) -> None:
    # Looked up afresh: an earlier difference may have added the device that it speaks of.
    found = index_pieces(root).get(difference.key)
    wanted = parse_xml(piece)
    if found is None:
        is_device = difference.key.startswith(f"{DEVICES}.")
        (reach(root, DEVICES) if is_device else root).append(wanted)
        return
    if difference.applied is not None:
        withdraw(found, parse_xml(difference.applied), wanted)
    merge(found, wanted)
    _put_listed(found, difference)


def _put_listed(element: _Element, difference: PieceDifference) -> None:
    """What the manifest's lists state of the same device stays, whatever a piece takes away."""
    if difference.listed is not None:
        put_fields(KIND_BY_ELEMENT[str(element.tag)], element, difference.listed)


def _put_displaced(root: _Element, stated: Stated) -> None:
    """What is stated stays, though a change of another field has taken it away."""
    for row in FIELDS:
        wanted, found = stated.get(row.name), row.read(root)
        if wanted is not None and not (
            found is not None and row.kind.agrees(wanted, found, live=False)
        ):
            row.place.put(root, row.kind.write(wanted))


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
    return element.tag in ("interface", "rng") or (
        element.tag == "controller" and element.get("type") == "scsi"
    )


def _reserve_device_number(element: _Element, root: _Element, running: _Element) -> None:
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
