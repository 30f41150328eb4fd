"""What came of a migration, as both hosts say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reconvirt.domain.migration import Finding
from reconvirt.hypervisor.moving import Host

_AGAIN_SECONDS = 60.0
ARRIVING = ("migrating", "starting up")
"""The reasons for which what has not arrived yet is paused."""


class End(StrEnum):
    """How a migration ended, as both hosts say."""

    MOVED = "moved"
    """It is at the destination, and no longer here."""
    STAYED = "stayed"
    """It is here, and not at the destination."""
    REFUSED = "refused"
    """Something stands against it; nothing was moved."""
    FULL = "full"
    """The destination takes no more at a time."""
    UNSURE = "unsure"
    """One of the hosts cannot be asked, or both say something that a person must see."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a migration.

    Attributes:
        end: how it ended.
        message: one sentence for people.
        findings: what stands against it.
        by_hand: whether a person has ended it.
    """

    end: End
    message: str
    findings: tuple[Finding, ...] = ()
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How a virtual server stands that is to be moved.

    Attributes:
        message: one sentence for people.
        underway: whether it moves, or waits for a slot; it is woken then.
        again_after: seconds until it is tried again; None if something wakes it.
        report: what came of the last try.
    """

    message: str
    underway: bool = False
    again_after: float | None = None
    report: Report | None = None

    @classmethod
    def refused(cls, why: str) -> Standing:
        """One that something blocks, which is tried again after a while."""
        return cls(why, again_after=_AGAIN_SECONDS, report=Report(End.REFUSED, why))


def same_host(here: Host, there: Host, name: str) -> tuple[Finding, ...]:
    """What is to be said of a destination that is this host itself, or passes for it."""
    own, other = here.identity(), there.identity()
    if not own.uuid or own.uuid != other.uuid:
        return ()
    if own.is_same(other):
        remedy = f'set host_name = "{name}" here, or correct spec.uri of {name}'
        return (Finding(f"{name} is this very libvirt", remedy),)
    remedy = "state host_uuid in libvirtd.conf (or virtqemud.conf) of one of them, and restart it"
    return (Finding(f"{name} has the same libvirt host uuid as this host, {own.uuid}", remedy),)


def refused(*findings: Finding) -> Report:
    """The report of a migration that something blocks."""
    told = "; ".join(map(str, findings))
    return Report(End.REFUSED, f"it cannot be moved: {told}", findings)
