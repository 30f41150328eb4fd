"""Amounts of memory."""

from __future__ import annotations

import re

_POWERS = "KMGTPE"
MEMORY_PATTERN = r"^[0-9]+ *([Bb]([Yy][Tt][Ee][Ss]?)?|[KkMmGgTtPpEe]([Ii]?[Bb])?)$"


def parse_memory(text: str) -> int:
    m = re.fullmatch(r"([0-9]+) *([A-Za-z]+)", text.strip())
    if not m:
        raise ValueError(text)
    n, u = int(m[1]), m[2].lower()
    if u in ("b", "byte", "bytes"):
        b = n
    else:
        power = _POWERS.index(u[0].upper()) + 1
        b = n * (1000 if u[1:] == "b" else 1024) ** power
    return -(-b // 1024)


def format_memory(kib: int) -> str:
    for power in range(5, 0, -1):
        size = 1024**power
        if kib and kib % size == 0:
            return f"{kib // size} {_POWERS[power]}iB"
    return f"{kib} KiB"
