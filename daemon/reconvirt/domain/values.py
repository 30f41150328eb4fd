"""Kinds of values: how each is written in a manifest, how libvirt spells it, and what is equal.

A value inside reconvirt is a plain ``str``, ``int`` or ``bool`` in one canonical form, so that
two spellings of the same thing – ``4 GiB`` and ``4194304 KiB``, ``0xfe`` and ``254`` – are equal
by ``==``, and so that values can be kept as JSON.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeAlias

from reconvirt.manifest.identity import normalise_mac
from reconvirt.manifest.units import MEMORY_PATTERN, format_memory, parse_cpuset, parse_memory

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
        dump: the canonical value to the manifest's spelling.
        satisfied: whether a found value is what was wanted.
        satisfied_live: the same for a running virtual server, where libvirt rounds some values.
        remains: whether a found value is one that was applied (first), or what is left of it.
    """

    schema: Schema
    parse: Callable[[Any], Value]
    read: Callable[[str], Value]
    write: Callable[[Value], str]
    show: Callable[[Value], str] = str
    dump: Callable[[Value], Any] = field(default=lambda value: value)
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


def line() -> Kind:
    """A text of one line, without blanks at its ends."""
    return text(r"^\S(.*\S)?$", description="One line.")


def command_line() -> Kind:
    """A text in which line breaks with the blanks around them count as one blank."""

    def joined(spelling: Any) -> str:
        return re.sub(r"\s*\n\s*", " ", str(spelling)).strip()

    return Kind({"type": "string", "minLength": 1}, joined, joined, str)


def device() -> Kind:
    """The name of a network device of the host."""
    return text(r"^[^\s/]{1,15}$", description="A network interface name of the host.")


ON_OFF: tuple[str, str] = ("on", "off")
YES_NO: tuple[str, str] = ("yes", "no")


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
    return replace(integer(0, most), remains=lambda applied, found: 0 < int(found) <= int(applied))


def hexadecimal(most: int, digits: int) -> Kind:
    """A whole number that the field writes in hexadecimal, such as a device number."""
    schema: Schema = {"type": "integer", "minimum": 0, "maximum": most}
    return Kind(
        schema,
        int,
        _read_integer,
        lambda value: f"0x{int(value):0{digits}x}",
        dump=lambda value: Hexadecimal(value, digits),
    )


class Hexadecimal(int):
    """A number that a manifest is written with in hexadecimal."""

    digits: int

    def __new__(cls, value: Value, digits: int) -> Self:
        """``value`` with so many digits."""
        number = super().__new__(cls, value)
        number.digits = digits
        return number


def numbers(least: int, most: int, *, ordered: bool = False) -> Kind:
    """A list of whole numbers; canonical as ``1,2,4``, sorted unless their order counts."""

    def canonical(found: Any) -> str:
        each = [int(number) for number in found]
        return ",".join(map(str, each if ordered else sorted(set(each))))

    return Kind(
        {
            "type": "array",
            "uniqueItems": True,
            "items": {"type": "integer", "minimum": least, "maximum": most},
        },
        canonical,
        lambda spelling: canonical(filter(None, spelling.split(","))),
        str,
        dump=lambda value: [int(number) for number in str(value).split(",") if number],
    )


def words(*allowed: str) -> Kind:
    """A list of words in their order; canonical as ``hd,network``."""
    return Kind(
        {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"enum": list(allowed)}},
        ",".join,
        str,
        str,
        dump=lambda value: str(value).split(","),
    )


def format_cpuset(cpus: Iterable[int]) -> str:
    """The set as libvirt prints it: ``0-3,8``."""
    parts: list[str] = []
    ordered = sorted(cpus)
    for number, run in itertools.groupby(enumerate(ordered), lambda each: each[1] - each[0]):
        del number
        run_cpus = [cpu for _, cpu in run]
        first, last = run_cpus[0], run_cpus[-1]
        parts.append(str(first) if first == last else f"{first}-{last}")
    return ",".join(parts)


def _canonical_cpuset(spelling: Any) -> str:
    return format_cpuset(parse_cpuset(str(spelling)))


CPUSET = Kind(
    {
        "type": "string",
        "pattern": r"^\^?[0-9]{1,5}(-[0-9]{1,5})?(,\^?[0-9]{1,5}(-[0-9]{1,5})?)*$",
        "examples": ["0-3,8"],
    },
    _canonical_cpuset,
    _canonical_cpuset,
    str,
)
"""A set of host CPUs or nodes; libvirt sorts and joins it."""


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
    dump=lambda kib: format_memory(int(kib)),
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
