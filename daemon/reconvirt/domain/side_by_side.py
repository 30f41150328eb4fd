"""Desired, configured and running values beside each other, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconvirt.domain.changes import Change
from reconvirt.domain.compare import device_path, index_devices, piece_path
from reconvirt.domain.desired import Desired
from reconvirt.domain.devices import DEVICES
from reconvirt.domain.disk_source import SOURCE_FIELDS
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.fragment import canonical, contains, index_pieces
from reconvirt.domain.observed import Observed
from reconvirt.domain.rows import NOWHERE, Field, Stated
from reconvirt.domain.show import Shown, show_value
from reconvirt.domain.values import Value
from reconvirt.domain.xmltree import hide_passwords, parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(frozen=True, slots=True)
class Line:
    """One value in three places.

    Attributes:
        field: its path in the manifest.
        desired: what the manifest wants.
        config: what the next start brings; None for nothing.
        live: what runs; None for nothing, or where it does not run.
        differs: whether one of them is not as wanted.
    """

    field: str
    desired: Shown
    config: Shown
    live: Shown
    differs: bool


def lay_side_by_side(
    desired: Desired, observed: Observed | None, overlays: Iterable[Change] = ()
) -> tuple[Line, ...]:
    """All that the manifest wants, beside what libvirt has.

    Args:
        desired: what is wanted.
        observed: what libvirt has.
        overlays: the disks on an overlay of the stated image, as the plan reports them: their
            sources are in sync.
    """
    config = parse_xml(observed.config) if observed else None
    live = parse_xml(observed.live) if observed and observed.live else None
    disks = [each.field.removesuffix(".source") for each in overlays]
    in_sync = {f"{disk}.{name}" for disk in disks for name in SOURCE_FIELDS}
    return tuple(
        replace(line, differs=False) if line.field in in_sync else line
        for line in _lines(desired, config, live)
    )


def _lines(desired: Desired, config: _Element | None, live: _Element | None) -> Iterator[Line]:
    yield from _fields(FIELDS, desired.statement.fields, config, live, "")
    for kind in DEVICES:
        there = index_devices(kind, config) if config is not None else {}
        running = index_devices(kind, live) if live is not None else {}
        for identity, stated in desired.statement.devices.get(kind.name, {}).items():
            path = f"{device_path(kind, identity)}."
            yield from _fields(
                kind.fields, stated, there.get(identity), running.get(identity), path, live
            )
    layers = [index_pieces(each) if each is not None else {} for each in (config, live)]
    for key, text in desired.statement.pieces.items():
        wanted = parse_xml(text)
        found = [layer.get(key) for layer in layers]
        same = [each is not None and contains(each, wanted) for each in found]
        shown = [None if each is None else hide_passwords(canonical(each)) for each in found]
        yield Line(piece_path(key), hide_passwords(text), shown[0], shown[1], not same[0])


def _fields(
    rows: tuple[Field, ...],
    stated: Stated,
    config: _Element | None,
    live: _Element | None,
    prefix: str,
    runs: _Element | None = None,
) -> Iterator[Line]:
    for row in rows:
        wanted = stated.get(row.name)
        if wanted is None or row.place is NOWHERE:
            continue
        there, running = (None if each is None else row.read(each) for each in (config, live))
        differs = not _agrees(row, wanted, there, live=False)
        if (live is not None or runs is not None) and not (row.expanded or row.config_only):
            differs = differs or not _agrees(row, wanted, running, live=True)
        yield Line(
            f"{prefix}{row.name}",
            show_value(row, wanted),
            show_value(row, there),
            show_value(row, running),
            differs,
        )


def _agrees(row: Field, wanted: Value, found: Value | None, *, live: bool) -> bool:
    return found is not None and row.kind.agrees(wanted, found, live=live)
