"""Reading what ``perf kvm stat report`` and ``perf kvm stat live`` print (chapter 22).

The table has been printed in three ways: without least and greatest time (perf before 3.15), with
them, and in nanoseconds in the browser of perf 6.4 and later, which it opens on a terminal only:
into a pipe it prints what it always has, with or without ``--stdio``. The columns are found by
their titles, and the rows are read from the right, since the names of exits have spaces,
parentheses and percent signs of their own.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

_EVENTS = {
    "VM-EXIT": "vmexit",
    "MMIO Access": "mmio",
    "IO Port Access": "ioport",
    "MSR Access": "msr",
    "HCALL-EVENTS": "hcall",
    "Event name": "vmexit",
}
_COLUMNS = {
    "Samples": "count",
    "Samples%": "count_share",
    "Sample%": "count_share",
    "Time%": "time_share",
    "Time (ns)": "time",
    "Min Time": "least",
    "Min Time (ns)": "least",
    "Max Time": "most",
    "Max Time (ns)": "most",
    "Avg time": "mean",
    "Avg Time": "mean",
    "Mean Time (ns)": "mean",
}
_TITLE = re.compile(
    "|".join(rf"(?<!\S){re.escape(title)}(?!\S)" for title in sorted(_COLUMNS, key=len)[::-1])
)
_DEVIATION = re.compile(r"\(\s*\+-\s*(\S+?)\s*%\s*\)\s*$")
_NUMBER = re.compile(r"(-?nan|-?inf|\d+(?:\.\d+)?)(%|us|ns)?", re.IGNORECASE)
_TOTAL = re.compile(
    r"Total Samples:\s*(\d+),\s*Total events handled time:\s*(-?nan|[\d.]+)\s*us", re.IGNORECASE
)
_LOST = re.compile(r"^\s*Lost events:\s*(\d+)", re.MULTILINE)
_LOST_CHUNKS = re.compile(r"lost (\d+) chunks!")
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What perf says between the rows when table and complaints come together.
_NOISE = ("Press ", "Tip:", "#", "[ perf record:", "unknown kvm exit code:", "Warning:")
_NANO = 1e-9
_SECONDS = {"us": 1e-6, "ns": _NANO}


class Trouble(StrEnum):
    """Why perf gave nothing, by what is to be done about it."""

    NOT_INSTALLED = "not installed"
    """There is no perf, or none for this kernel."""
    NOT_PERMITTED = "not permitted"
    """perf must not read tracepoints: run as root, or grant it."""
    NO_TRACEPOINTS = "no tracepoints"
    """The kernel has no KVM tracepoints: KVM is not loaded, or the kernel is built without."""
    NOT_SUPPORTED = "not supported"
    """perf is built without ``kvm stat``, or does not know this processor."""
    NO_DATA = "no data"
    """The recording is not there, empty or not one of ``perf kvm stat``."""
    UNKNOWN = "unknown"
    """Something else; the text says what."""


_TROUBLES: tuple[tuple[Trouble, str], ...] = (
    (Trouble.NOT_INSTALLED, r"perf: (command )?not found|perf not found for kernel"),
    (
        Trouble.NOT_PERMITTED,
        (
            r"No permissions? |Permission denied|Operation not permitted|perf_event_paranoid|"
            r"can't access trace events|not have permission"
        ),
    ),
    (
        Trouble.NO_TRACEPOINTS,
        (
            r"unknown tracepoint|Unable to find .*/tracing|"
            r"tracefs .*not|debugfs .*not (found|mounted)|Unable to setup the kvm tracepoints|"
            r"Failed to add kvm:\S+ tracepoint|Can't open event dir|Error:\s*File .*events/kvm"
        ),
    ),
    (
        Trouble.NOT_SUPPORTED,
        (
            r"CPU .* is not supported|Failed to look up CPU type|is not a perf-command|"
            r"No such command|usage: perf kvm|Usage: perf kvm(?! stat)"
        ),
    ),
    (
        Trouble.NO_DATA,
        (
            r"failed to open .*No such file|Initializing perf session failed|"
            r"(file|data) (is|has) (empty|no samples)|zero-sized|incompatible file format|"
            r"does not have traces|size field is 0|not a perf.data file"
        ),
    ),
)


class ReportError(Exception):
    """perf printed no report.

    Attributes:
        trouble: what kind of trouble it is.
    """

    def __init__(self, trouble: Trouble, message: str) -> None:
        super().__init__(message)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Exit:
    """All exits for one reason.

    Attributes:
        reason: perf's name for it, such as ``DIAG (0x500) KVM virtio functions``.
        count: how many.
        seconds: how long they took together.
        least: seconds of the shortest; None where perf does not print it.
        most: seconds of the longest; None where perf does not print it.
        mean: seconds of one, on average.
    """

    reason: str
    count: int
    seconds: float
    least: float | None
    most: float | None
    mean: float


@dataclass(frozen=True, slots=True)
class Report:
    """One table.

    Attributes:
        event: what was counted: ``vmexit``, ``mmio``, ``ioport``, ``msr`` or ``hcall``.
        exits: a row for each reason, in perf's order.
        count: all exits.
        seconds: the time of all.
        lost: how many events, or pieces of the recording, perf says it has lost.
        unread: lines of the table that could not be read.
    """

    event: str
    exits: tuple[Exit, ...]
    count: int
    seconds: float
    lost: int = 0
    unread: tuple[str, ...] = ()


def find_trouble(text: str) -> Trouble:
    """What perf complains about in what it printed."""
    for trouble, pattern in _TROUBLES:
        if re.search(pattern, text, re.IGNORECASE):
            return trouble
    return Trouble.UNKNOWN


def parse_report(text: str, complaints: str = "") -> Report:
    """The table that perf has printed; of several the last.

    Args:
        text: what perf wrote to its standard output.
        complaints: what it wrote to its standard error, where losses and errors are told.

    Raises:
        ReportError: there is no table.
    """
    reports = list(parse_reports(text))
    if not reports:
        said = " ".join(f"{complaints} {text}".split())
        raise ReportError(find_trouble(said), said[:500] or "perf printed nothing")
    chunks = sum(int(each) for each in _LOST_CHUNKS.findall(complaints))
    return replace(reports[-1], lost=reports[-1].lost + chunks)


def parse_reports(text: str) -> Iterator[Report]:
    """All tables, in order, as ``perf kvm stat live`` prints one every second."""
    lines = _TERMINAL.sub("", text).replace("\r", "").splitlines()
    heads = [number for number, line in enumerate(lines) if _is_header(line)]
    for begin, end in itertools.pairwise([*heads, len(lines)]):
        yield _parse_table(lines[begin], lines[begin + 1 : end])


def merge_exits(exits: Iterable[Exit]) -> tuple[Exit, ...]:
    """One row a reason: perf prints ``UNKNOWN`` once for each number that it has no name for."""
    merged: dict[str, Exit] = {}
    for each in exits:
        known = merged.get(each.reason)
        if known is None:
            merged[each.reason] = each
            continue
        count, seconds = known.count + each.count, known.seconds + each.seconds
        merged[each.reason] = Exit(
            each.reason,
            count,
            seconds,
            min((x for x in (known.least, each.least) if x is not None), default=None),
            max((x for x in (known.most, each.most) if x is not None), default=None),
            seconds / count if count else 0.0,
        )
    return tuple(merged.values())


def _is_header(line: str) -> bool:
    titles = _TITLE.findall(line)
    return len(titles) > 2 and "Samples" in titles  # noqa: PLR2004 - no other line has so many


def _parse_table(header: str, lines: list[str]) -> Report:
    titles = list(_TITLE.finditer(header))
    columns = [_COLUMNS[title.group()] for title in titles]
    units = [_NANO if title.group().endswith("(ns)") else 1.0 for title in titles]
    first = header[: titles[0].start()].strip()
    exits: list[Exit] = []
    unread: list[str] = []
    total: re.Match[str] | None = None
    for line in lines:
        if (total := _TOTAL.search(line)) is not None:
            break
        if not line.strip() or line.lstrip().startswith(_NOISE):
            continue
        row = _parse_row(line, columns, units)
        if row is None:
            unread.append(line.strip())
        else:
            exits.append(row)
    lost = sum(int(each) for each in _LOST.findall("\n".join(lines)))
    unread = [line for line in unread if not _LOST.match(line)]
    merged = merge_exits(exits)
    count = int(total.group(1)) if total else sum(each.count for each in merged)
    seconds = sum(each.seconds for each in merged)
    if total and not math.isnan(float(total.group(2))):
        seconds = float(total.group(2)) * 1e-6
    return Report(_EVENTS.get(first, first.lower()), merged, count, seconds, lost, tuple(unread))


def _parse_row(line: str, columns: list[str], units: list[float]) -> Exit | None:
    cells = _DEVIATION.sub("", line).rstrip().rsplit(maxsplit=len(columns))
    if len(cells) != len(columns) + 1:
        return None
    values: dict[str, float] = {}
    for column, unit, cell in zip(columns, units, cells[1:], strict=True):
        number = _NUMBER.fullmatch(cell)
        if number is None:
            return None
        value = float(number.group(1))
        values[column] = (0.0 if math.isnan(value) else value) * _SECONDS.get(
            number.group(2) or "", unit
        )
    return _make_exit(cells[0].strip(), values)


def _make_exit(reason: str, values: Mapping[str, float]) -> Exit:
    count, mean = int(values["count"]), values.get("mean", 0.0)
    # The mean is printed more exactly than the share of the time.
    seconds = values.get("time", count * mean)
    return Exit(reason, count, seconds, values.get("least"), values.get("most"), mean)
