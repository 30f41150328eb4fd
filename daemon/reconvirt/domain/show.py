"""Values and devices as a person reads them, in plans and messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from reconvirt.domain.compare import Difference, FieldDifference, PieceDifference, read_fields
from reconvirt.domain.fields import FIELD_BY_NAME
from reconvirt.domain.fragment import canonical
from reconvirt.domain.observed import Observed
from reconvirt.domain.rows import DeviceKind, Field, Stated
from reconvirt.domain.values import Value
from reconvirt.domain.xmltree import hide_passwords, parse_xml

Shown: TypeAlias = str | int | None
"""A value as it is shown: numbers stay numbers, nothing is None."""


def show_difference(difference: Difference) -> tuple[Shown, Shown]:
    """What is there and what is wanted."""
    if isinstance(difference, FieldDifference):
        row = difference.row
        return show_value(row, difference.found), show_value(row, difference.wanted)
    if isinstance(difference, PieceDifference):
        there = None if difference.found is None else canonical(difference.found)
        return _shorten(difference.applied or there), _shorten(difference.wanted)
    kind = difference.kind
    names = tuple(row.name for row in kind.fields)
    found = None
    if difference.found is not None:
        found = show_device(kind, read_fields(kind, difference.found, names))
    wanted = None if difference.wanted is None else show_device(kind, difference.wanted)
    return found, wanted


_LONGEST = 72


def _shorten(xml: str | None) -> str | None:
    """A piece of XML in at most a line."""
    if xml is None:
        return None
    shown = hide_passwords(xml)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def show_value(row: Field, value: Value | None) -> Shown:
    """One value; a value of libvirt's that reconvirt cannot read is shown as it is."""
    if value is None or isinstance(value, str):
        return value
    shown = row.kind.show(value)
    return int(value) if shown == str(value) else shown


def show_device(kind: DeviceKind, stated: Stated) -> str:
    """A device in a few words: what stands behind it, else what it is."""
    source = [str(stated[name]) for name in kind.source if name in stated]
    return ", ".join(source) or str(stated.get("type", kind.element))


_FIGURES = ("vcpu.current", "vcpu.maximum", "memory.size", "cputune.shares")


def figures_of(observed: Observed | None) -> Mapping[str, Shown]:
    """What a list shows of a virtual server, by field name: what runs, else its configuration."""
    if observed is None:
        return {}
    root = parse_xml(observed.live or observed.config)
    rows = [FIELD_BY_NAME[name] for name in _FIGURES]
    return {row.name: show_value(row, row.read(root)) for row in rows}
