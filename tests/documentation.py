"""The documentation's fenced blocks: what it tells its readers to write and to run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        language: what stands behind the fence.
        text: what stands in the block.
        place: its page and line.
    """

    language: str
    text: str
    place: str


def pages() -> list[Path]:
    """The README and all pages of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        yield Block(match[1], match[2], f"{page.relative_to(ROOT)}:{line}")


def looks_like(wanted: str, printed: str) -> bool:
    """Whether each line of `wanted` is one of `printed`.

    Blanks count as one, and ``…`` as anything or nothing.
    """
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    return all(
        any(_pattern(each).fullmatch(line) for line in lines) for each in wanted.splitlines()
    )


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(r"\s*.*\s*".join(re.escape(" ".join(part.split())) for part in line.split("…")))
