"""What is tried after a migration that has not been: the next host, or all again later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from reconvirt.controller.hosts.report import End, Report
from reconvirt.domain.desired import Desired
from reconvirt.manifest.host import HostManifest

_FIRST_PAUSE = 10.0
_LONGEST_PAUSE = 900.0
_FULL_PAUSE = 5.0

Wanted: TypeAlias = tuple[Desired, tuple[HostManifest, ...]]
"""What is to be moved, and where to: the first of these hosts that it can be moved to."""


@dataclass(frozen=True, slots=True)
class Past:
    """The last tries to move one virtual server the same way.

    Attributes:
        wanted: which way.
        report: what came of the last one, or of one to each host.
        tried: what came of those to hosts before the one that is next.
        not_before: when the next is made, on the monotonic clock.
        failures: how often all hosts were tried.
    """

    wanted: Wanted
    report: Report
    tried: Mapping[str, Report] = field(default_factory=dict)
    not_before: float = 0.0
    failures: int = 0


def next_try(before: Past, host: str, report: Report, now: float) -> Past:
    """What is to be tried after a migration that has not been."""
    if report.end is End.FULL:
        return replace(before, report=report, not_before=now + _FULL_PAUSE, failures=0)
    pause = min(_FIRST_PAUSE * 2**before.failures, _LONGEST_PAUSE)
    later = replace(before, report=report, not_before=now + pause, failures=before.failures + 1)
    if report.end is End.UNSURE:
        return later
    tried = {**before.tried, host: report}
    if any(each.name not in tried for each in before.wanted[1]):
        return replace(before, report=report, tried=tried, not_before=now)
    return replace(later, report=_none_of(tried), tried={})


def _none_of(tried: Mapping[str, Report]) -> Report:
    """What is to be said of one that no host can have."""
    if len(tried) == 1:
        return next(iter(tried.values()))
    told = "; ".join(f"{host}: {report.message}" for host, report in tried.items())
    findings = tuple(each for report in tried.values() for each in report.findings)
    return Report(End.REFUSED, f"none of its hosts can have it: {told}", findings)
