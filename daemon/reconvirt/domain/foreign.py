"""Devices that no manifest lists: attached by hand, and so drift."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconvirt.domain.changes import Change, make_change
from reconvirt.domain.compare import DeviceDifference, device_path, index_devices
from reconvirt.domain.desired import NOTHING, Statement
from reconvirt.domain.devices import DEVICES
from reconvirt.domain.effects import Effect
from reconvirt.domain.fragment import piece_key

if TYPE_CHECKING:
    from lxml.etree import _Element

_REPORT = "no manifest lists it; 'policy: {unlisted: detach}' would have it detached"


def find_foreign(
    wanted: Statement, applied: Statement | None, root: _Element
) -> Iterator[DeviceDifference]:
    """The disks, interfaces and host devices of one layer that are nobody's.

    What was applied once and is not stated any longer is ours, and not among them.
    """
    before = applied or NOTHING
    known = {*wanted.pieces, *before.pieces}
    for kind in DEVICES:
        if not kind.foreign:
            continue
        listed = {*wanted.devices.get(kind.name, ()), *before.devices.get(kind.name, ())}
        for identity, element in index_devices(kind, root).items():
            if identity not in listed and piece_key(kind.element, identity) not in known:
                yield DeviceDifference(kind, identity, element, None, None)


def report_foreign(*layers: Iterator[DeviceDifference]) -> tuple[Change, ...]:
    """What is told of them; one that is in both layers is told once."""
    found = {device_path(each.kind, each.identity): each for layer in layers for each in layer}
    return tuple(make_change(each, Effect.REFUSED, _REPORT) for each in found.values())
