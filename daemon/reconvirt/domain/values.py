"""Kinds of values: how each is written in a manifest, how libvirt spells it, and what is equal.

A value inside reconvirt is a plain ``str``, ``int`` or ``bool`` in one canonical form, so that
two spellings of the same thing – ``4 GiB`` and ``4194304 KiB``, ``0xfe`` and ``254`` – are equal
by ``==``, and so that values can be kept as JSON.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from reconvirt.manifest.identity import normalise_mac
from reconvirt.manifest.units import MEMORY_PATTERN, format_memory, parse_memory

Value: TypeAlias = str | int | bool
"""A canonical value: memory in KiB, MAC addresses in lower case, yes-or-no as bool."""

Schema: TypeAlias = dict[str, Any]
"""A fragment of JSON Schema, draft 2020-12."""

_MIB = 1024


def _equal(wanted: Value, found: Value) -> bool:
    return bool(operator.eq(wanted, found))


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    Attributes:
        schema: what a manifest may say, as JSON Schema.
        parse: the manifest's spelling to the canonical value.
        read: libvirt's spelling to the canonical value.
        write: the canonical value to libvirt's spelling.
        show: the canonical value as a person reads it.
        satisfied: whether a found value is what was wanted.
        satisfied_live: the same for a running virtual server, where libvirt rounds some values.
        remains: whether a found value is one that was applied (first), or what is left of it.
    """

    schema: Schema
    parse: Callable[[Any], Value]
    read: Callable[[str], Value]
    write: Callable[[Value], str]
    show: Callable[[Value], str] = str
    satisfied: Callable[[Value, Value], bool] = _equal
    satisfied_live: Callable[[Value, Value], bool] | None = field(default=None)
    remains: Callable[[Value, Value], bool] | None = field(default=None)

    def agrees(self, wanted: Value, found: Value, *, live: bool) -> bool:
        """Whether the found value is what was wanted."""
        compare = self.satisfied_live if live and self.satisfied_live else self.satisfied
        return compare(wanted, found)

    def is_rest(self, applied: Value, found: Value, *, live: bool) -> bool:
        """Whether a found value is there because it was applied, or is what is left of it."""
        if self.remains is not None:
            return self.remains(applied, found)
        return self.agrees(applied, found, live=live)


def text(pattern: str | None = None, **more: Any) -> Kind:
    """A text, as it is."""
    schema: Schema = {"type": "string", "minLength": 1} | more
    if pattern:
        schema["pattern"] = pattern
    return Kind(schema, str, str, str)


def path() -> Kind:
    """An absolute path on the host."""
    return text(r"^/[^\n\r\u0000]*$", description="An absolute path on the KVM host.")


def choice(*allowed: str) -> Kind:
    """One of a few words."""
    return Kind({"enum": list(allowed)}, str, str, str)


def integer(least: int, most: int | None = None) -> Kind:
    """A whole number; libvirt may print it in decimal or hexadecimal."""
    schema: Schema = {"type": "integer", "minimum": least}
    if most is not None:
        schema["maximum"] = most
    return Kind(schema, int, _read_integer, str)


def count(most: int) -> Kind:
    """A number of things that are taken away one by one."""
    return replace(integer(0, most), remains=lambda applied, found: int(found) <= int(applied))


def hexadecimal(most: int, digits: int) -> Kind:
    """A whole number that the field writes in hexadecimal, such as a device number."""
    schema: Schema = {"type": "integer", "minimum": 0, "maximum": most}
    return Kind(schema, int, _read_integer, lambda value: f"0x{int(value):0{digits}x}")


def _read_integer(spelling: str) -> int:
    return int(spelling.strip(), 16 if "0x" in spelling.lower() else 10)


YES_OR_NO = Kind(
    {"type": "boolean"},
    bool,
    lambda spelling: spelling == "yes",
    lambda value: "yes" if value else "no",
    show=lambda value: "yes" if value else "no",
)
"""true or false in a manifest; an element that is there or not in the XML."""

MAC = Kind(
    {
        "type": "string",
        "pattern": r"^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$",
        "examples": ["52:54:00:12:34:56"],
    },
    lambda spelling: normalise_mac(str(spelling)),
    normalise_mac,
    str,
)
"""A unicast MAC address; libvirt compares them in lower case."""

MEMORY = Kind(
    {
        "type": "string",
        "pattern": MEMORY_PATTERN,
        "examples": ["4 GiB", "512 MB", "786432 KiB"],
    },
    lambda spelling: parse_memory(str(spelling)),
    parse_memory,
    lambda kib: f"{kib} KiB",
    show=lambda kib: format_memory(int(kib)),
    # A running virtual server has its memory rounded up to whole MiB.
    satisfied_live=lambda wanted, found: -(-int(wanted) // _MIB) == -(-int(found) // _MIB),
)
"""An amount of memory, in KiB."""

_ALIASES = {"pc": "pc-i440fx", "q35": "pc-q35"}


def _is_machine(wanted: Value, found: Value) -> bool:
    """A machine without a version is met by every version of it.

    libvirt freezes ``s390-ccw-virtio`` to ``s390-ccw-virtio-7.2`` when it is defined; sending
    the short name again after an upgrade of QEMU would change the machine under the guest.
    """
    if wanted == found:
        return True
    family = _ALIASES.get(str(wanted), str(wanted))
    return re.fullmatch(re.escape(family) + r"-(?:[a-z]+)?\d[\w.]*", str(found)) is not None


MACHINE = Kind(
    {
        "type": "string",
        "minLength": 1,
        "pattern": r"^[A-Za-z0-9._-]+$",
        "examples": ["s390-ccw-virtio", "s390-ccw-virtio-7.2", "q35"],
    },
    str,
    str,
    str,
    satisfied=_is_machine,
)
"""A machine type, with or without its version."""
