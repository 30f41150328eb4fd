"""Ending a migration that runs, by hand: the same for the daemon and the command."""

from __future__ import annotations

from contextlib import suppress

from reconvirt.controller.guard import Call, Guard, Refusal
from reconvirt.controller.hosts.migration_journal import MigrationJournal
from reconvirt.domain.migration_actions import AbortMigration
from reconvirt.hypervisor.errors import HypervisorError, OperationFailed, VirtualServerGone
from reconvirt.hypervisor.moving import Host


def abort_migration(uri: str, name: str, journal: MigrationJournal) -> None:
    """End the migration of a virtual server away from this host; it goes on here.

    The wish is stored first: libvirt does not say who has ended a migration, and one that nobody
    is known to have ended is tried again.

    Args:
        uri: where libvirt is here.
        name: the virtual server.
        journal: where the wish is stored.

    Raises:
        HypervisorError: libvirt cannot end it, or none runs.
        OSError: the wish cannot be stored; the migration goes on.
    """
    journal.request_abort(name, end=True)
    try:
        here = Host(uri)
        try:
            _abort(here, name)
        finally:
            here.close()
    except HypervisorError:
        with suppress(OSError):
            journal.request_abort(name, end=False)
        raise


def _abort(here: Host, name: str) -> None:
    """Make the call, for a person: a hold does not keep it back."""
    observed = here.observe(name)
    if observed is None:
        raise VirtualServerGone(f"libvirt has no virtual server {name}")
    call = Call(name, observed.uuid, AbortMigration(), observed, migration="a person's request")
    guard = Guard()
    try:
        guard.act(here, call)
    except Refusal as refusal:
        raise OperationFailed(str(refusal)) from refusal
