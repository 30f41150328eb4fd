"""Amounts of memory, in libvirt's units, and sets of CPUs."""

from __future__ import annotations

import re

_POWERS = "KMGTPE"

MEMORY_PATTERN = r"^[0-9]{1,30} *([Bb]([Yy][Tt][Ee][Ss]?)?|[KkMmGgTtPpEe]([Ii]?[Bb])?)$"
"""What an amount looks like, as a regular expression that JSON Schema understands."""

_AMOUNT = re.compile(MEMORY_PATTERN)


MOST_MEMORY = 2**53
"""The largest amount that libvirt can count, in KiB."""


def parse_memory(text: str) -> int:
    """An amount such as ``4 GiB`` in KiB, rounded up as libvirt rounds it.

    The units are libvirt's, in any case: KB, MB, GB … are powers of 1000; k, KiB, M, MiB … are
    powers of 1024; b, byte and bytes are bytes.

    Raises:
        ValueError: it is not a whole number and a unit.
    """
    stripped = text.strip()
    if _AMOUNT.match(stripped) is None:
        raise ValueError(f"{text!r} is not a whole number and a unit, such as 4 GiB or 512 MB")
    digits = re.match(r"[0-9]+", stripped)
    number = digits.group() if digits else ""
    unit = stripped[len(number) :].strip().lower()
    if unit.startswith("b"):
        amount = int(number)
    else:
        base = 1000 if unit[1:] == "b" else 1024
        amount = int(number) * base ** (_POWERS.index(unit[0].upper()) + 1)
    return -(-amount // 1024)


def format_memory(kib: int) -> str:
    """KiB in the largest unit in which they are a whole number, such as ``4 GiB``."""
    for power in range(len(_POWERS) - 1, 0, -1):
        size = 1024**power
        if kib and kib % size == 0:
            return f"{kib // size} {_POWERS[power]}iB"
    return f"{kib} KiB"


_MOST_CPU = 16383


def parse_cpuset(spelling: str) -> frozenset[int]:
    """The CPUs of ``0-3,^2,8``.

    Raises:
        ValueError: it is no set of CPUs.
    """
    chosen: set[int] = set()
    for part in spelling.replace(" ", "").split(","):
        first, _, last = part.removeprefix("^").partition("-")
        if not (first.isdigit() and (last or first).isdigit()) or int(last or first) > _MOST_CPU:
            raise ValueError(f"{spelling!r} is no set of CPUs, such as 0-3,8")
        each = range(int(first), int(last or first) + 1)
        (chosen.difference_update if part.startswith("^") else chosen.update)(each)
    return frozenset(chosen)


def is_cpuset(spelling: str) -> bool:
    """Whether it is a set of CPUs with at least one in it."""
    try:
        return bool(parse_cpuset(spelling))
    except ValueError:
        return False
