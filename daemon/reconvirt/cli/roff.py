"""Manual pages out of the Markdown that the references are printed in.

Only what those use is understood: headings, paragraphs, lists, code, and tables, which become
tagged lists, since a terminal is narrow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_CELL = re.compile(r"(?<!\\)\|")
_LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")


def manual_page(name: str, section: int, about: str, text: str, version: str) -> str:
    """A manual page.

    Args:
        name: what it is called.
        section: of the manual.
        about: what it is about, in a line.
        text: the rest, in Markdown; its headings are sections.
        version: of the program.
    """
    head = f'.TH "{name.upper()}" "{section}" "" "reconvirt {version}" "reconvirt"'
    lines = [head, ".SH NAME", f"{_inline(name)} \\- {_inline(about)}", *_blocks(text)]
    return "\n".join(lines) + "\n"


def _blocks(text: str) -> Iterator[str]:
    code, header = False, list[str]()
    for line in text.splitlines():
        if line.startswith("```"):
            code = not code
            yield from (".PP", ".RS 4", ".nf") if code else (".fi", ".RE")
        elif code:
            yield _escape(line)
        elif line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            # The page's own title is its name; sections are in capitals, as manuals have them.
            title = _inline(line.lstrip("# "))
            yield f".SH {title.upper()}" if level <= 2 else f".SS {title}"  # noqa: PLR2004 - of Markdown
        elif line.startswith("|"):
            cells = [cell.strip().replace("\\|", "|") for cell in _CELL.split(line)[1:-1]]
            if set("".join(cells)) <= set("-: "):
                continue
            if not header:
                header = cells
                continue
            yield from _row(header, cells)
            continue
        elif line.startswith("- "):
            yield from (".IP \\(bu 2", _inline(line[2:]))
        elif line.strip():
            yield _inline(line.strip())
        else:
            yield ".PP"
        header = []


def _row(header: list[str], cells: list[str]) -> Iterator[str]:
    yield from (".TP", _inline(cells[0]))
    rest = [(name, cell) for name, cell in zip(header[1:], cells[1:], strict=True) if cell]
    for number, (name, cell) in enumerate(rest):
        if number:
            yield ".br"
        yield _inline(cell if name in ("meaning", "what it does") else f"{name}: {cell}")


def _inline(text: str) -> str:
    """Bold, code and links of a line; code is set bold, as manuals set what is typed."""
    text = _escape(_LINK.sub(r"\1", text))
    text = re.sub(r"\*\*`([^`]*)`\*\*|`([^`]*)`|\*\*([^*]*)\*\*", _bold, text)
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _bold(match: re.Match[str]) -> str:
    return f"\\fB{next(filter(None, match.groups()), '')}\\fR"


def _escape(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
