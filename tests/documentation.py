"""The documentation's fenced blocks: what it tells its readers to write and to run."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

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
    return re.compile(
        r"\s*.*\s*".join(re.escape(" ".join(part.split())) for part in line.split("…"))
    )


_ALERTS = """\
# Alerts

What the alerts of `deploy/prometheus/alert-rules.yml` mean, where to look, and what to do. Each has
the same text in its annotation `runbook`. NAME stands for the virtual server, INSTANCE for the
host, and … for a number.
"""


def alerts_page() -> str:
    """The page of the alerts, from their rules."""
    rules = ROOT / "deploy" / "prometheus" / "alert-rules.yml"
    groups = yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"]
    return "".join((_ALERTS, *(_alert(each) for group in groups for each in group["rules"])))


def _alert(rule: dict[str, Any]) -> str:
    notes = rule["annotations"]
    wait = f", after {rule['for']}" if "for" in rule else ""
    summary = _plain(f"{notes['summary']} ({rule['labels']['severity']}{wait}).")
    parts = (
        f"## {rule['alert']}",
        summary[:1].upper() + summary[1:],
        _plain(notes["runbook"]),
        f"```text\n{rule['expr'].strip()}\n```",
    )
    return "".join(f"\n{part}\n" for part in parts)


def _plain(text: str) -> str:
    """Without the templates of Prometheus, and with what is to be typed as code."""
    for label, word in {"virtual_server": "NAME", "instance": "INSTANCE"}.items():
        text = text.replace("{{ $labels." + label + " }}", word)
    text = " ".join(re.sub(r"{{[^}]*}}", "…", text).split())
    quoted = re.sub(r"(?<!\w)'([a-z]+ [^']*)'(?!\w)", r"`\1`", text)
    # What is to be typed must not be broken at a hyphen.
    return textwrap.fill(quoted, 100, break_on_hyphens=False)


if __name__ == "__main__":
    sys.stdout.write(alerts_page())
