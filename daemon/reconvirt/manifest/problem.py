"""What is wrong with a manifest, and where."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def shown_path(path: Path | str) -> str:
    """A path as it can be printed anywhere.

    On Linux the name of a file is any bytes: such as are not UTF-8, and control characters such as
    a line break, come out as escapes.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a manifest.

    Attributes:
        position: where.
        field: the path of the field, such as ``spec.vcpu.current``; "" for a whole file.
        message: what is wrong.
        allowed: what is allowed, or what to do; "" where the message says it.
    """

    position: Position
    field: str
    message: str
    allowed: str = ""

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        return f"{self.position}: {field}{self.message}{allowed}"
