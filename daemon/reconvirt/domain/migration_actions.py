"""What can be done in a migration, to the domain at one of its ends: steps as all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from reconvirt.domain.observed import State

if TYPE_CHECKING:
    from reconvirt.domain.migration import Order


@dataclass(frozen=True, slots=True)
class Migrate:
    """Move the virtual server to another host (``virDomainMigrateToURI3``)."""

    order: Order
    verb: ClassVar[str] = "migrate"


@dataclass(frozen=True, slots=True)
class SetMaxDowntime:
    """Let the guest stand still that long at the end (``virDomainMigrateSetMaxDowntime``)."""

    milliseconds: int
    verb: ClassVar[str] = "set-max-downtime"


@dataclass(frozen=True, slots=True)
class AbortMigration:
    """End the migration; the virtual server goes on here (``virDomainAbortJob``)."""

    verb: ClassVar[str] = "abort-migration"


@dataclass(frozen=True, slots=True)
class StartPostCopy:
    """Have the guest go on at the destination now (``virDomainMigrateStartPostCopy``)."""

    verb: ClassVar[str] = "start-post-copy"


@dataclass(frozen=True, slots=True)
class SuspendToMigrate:
    """Pause the guest so that the rest of its memory can be sent (``virDomainSuspend``)."""

    verb: ClassVar[str] = "suspend-to-migrate"


@dataclass(frozen=True, slots=True)
class ResumeAfterMigration:
    """Let the guest go on whose migration has failed (``virDomainResume``)."""

    verb: ClassVar[str] = "resume-after-migration"


@dataclass(frozen=True, slots=True)
class EndLeftover:
    """End and undefine what a migration has left behind at one of its ends.

    ``virDomainDestroy`` if it is active, and ``virDomainUndefineFlags``; only in the state and for
    the reason that were observed when that was decided.
    """

    state: State
    reason: str
    verb: ClassVar[str] = "end-leftover"


MigrationAction: TypeAlias = (
    Migrate
    | SetMaxDowntime
    | AbortMigration
    | StartPostCopy
    | SuspendToMigrate
    | ResumeAfterMigration
    | EndLeftover
)
"""What is done in a migration, to the domain at one of its ends."""
