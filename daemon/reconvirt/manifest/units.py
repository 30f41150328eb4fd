"""Amounts of memory, in libvirt's units."""

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
