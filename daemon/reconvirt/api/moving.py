"""What the interface answers of a virtual server that is on its way to another host."""

from __future__ import annotations

from dataclasses import dataclass

from reconvirt.domain.migration import Progress


@dataclass(frozen=True, slots=True)
class MigrationAnswer:
    """How far a migration away from this host is, as ``virsh domjobinfo`` has it.

    Attributes:
        phase: what is being done.
        seconds: how long it has taken.
        processed: bytes that were sent.
        remaining: bytes that are still to be sent.
        total: bytes altogether.
        dirty_rate: bytes a second that the guest changes; 0 where it is not known.
        speed: bytes a second that are sent.
        downtime: milliseconds for which the guest will stand still at the end.
        iteration: how often its memory has been gone through.
        expected_end: seconds until all is sent at this speed; null where that cannot be told.
    """

    phase: str
    seconds: float
    processed: int
    remaining: int
    total: int
    dirty_rate: int
    speed: int
    downtime: int
    iteration: int
    expected_end: float | None


def answer_migration(progress: Progress) -> MigrationAnswer:
    """How far it is."""
    return MigrationAnswer(
        progress.phase,
        progress.elapsed,
        progress.processed,
        progress.remaining,
        progress.total,
        progress.dirty_rate,
        progress.speed,
        progress.downtime,
        progress.iteration,
        progress.expected_end,
    )


def tell_progress(migration: MigrationAnswer) -> str:
    """How far it is, in a few words."""
    told = f"{migration.phase}: {migration.processed >> 20} of {migration.total >> 20} MiB"
    if migration.expected_end is None:
        return told
    return f"{told}, about {migration.expected_end:.0f} s to go"
