"""What is true after a migration, read from both hosts, and what is cleaned up for it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconvirt.controller.hosts.report import ARRIVING, End, Report, refused
from reconvirt.domain.actions import SetAutostart
from reconvirt.domain.lifecycle import RUNS
from reconvirt.domain.migration import same_definition
from reconvirt.domain.migration_actions import EndLeftover, ResumeAfterMigration
from reconvirt.domain.migration_errors import explain_failure
from reconvirt.domain.observed import Observed, State
from reconvirt.hypervisor.errors import HypervisorError
from reconvirt.hypervisor.moving import Host

if TYPE_CHECKING:
    from reconvirt.controller.hosts.move import Move


def settle(move: Move, here: Host, there: Host | None, before: Observed | None) -> Report:
    """Read from both hosts where it is, and clean up where it is not.

    Nothing is ended unless the journal says that the migration has left it, and it is sure that the
    other copy is the right one.

    Args:
        move: the migration.
        here: the host that it leaves.
        there: the destination; None if it cannot be asked.
        before: the virtual server before it was begun; None if it was not here then.

    Raises:
        Refusal: something must not be done now, as when it was put on hold.
        HypervisorError: one of the hosts has failed.
    """
    ours = here.observe(move.name, move.desired.uuid)
    uuid = ours.uuid if ours else (before.uuid if before else move.desired.expected_uuid)
    host, theirs = move.destination.name, None
    try:
        theirs = there.find(uuid) if there is not None else None
    except HypervisorError:
        there = None
    if there is None:
        # Nothing is true of both hosts that only one has said.
        where = f"{host} cannot be asked"
        if ours is not None and ours.state in RUNS:
            return Report(End.STAYED, f"{_why(move)}; it runs here on, and {where}")
        return Report(End.UNSURE, f"{_why(move)}; {where}")
    ends = _Ends(move, here, there)
    if ours is None:
        return ends.arrived(before) if theirs else Report(End.UNSURE, "neither host has it")
    if theirs is None:
        move.clean_up(there, uuid)
        return ends.stays(ours)
    return ends.on_both(ours, theirs, before)


def _why(move: Move) -> str:
    if move.aborted:
        return f"its migration was ended: {move.aborted}"
    return f"its migration has failed: {move.error or 'libvirt does not say why'}"


@dataclass(frozen=True, slots=True)
class _Ends:
    """Both ends of a migration, which can be asked."""

    move: Move
    here: Host
    there: Host

    def on_both(self, ours: Observed, theirs: tuple[State, str], before: Observed | None) -> Report:
        """What is to be said of one that both hosts have, and what is done about it."""
        state, reason = theirs
        if not self.move.is_left(ours.uuid):
            return self._unsure(ours, theirs)
        arriving = state is State.PAUSED and reason in ARRIVING
        # One that somebody has paused is alive, too: libvirt gives what has left another reason.
        alive = ours.state in RUNS or (ours.state is State.PAUSED and ours.reason == "user")
        if alive and (arriving or (state is State.SHUTOFF and self._are_equal(ours))):
            self._end_theirs(ours.uuid, theirs)
            self.move.clean_up(self.there, ours.uuid)
            return self.stays(ours)
        left = ours.state is State.PAUSED and ours.reason == "migrating"
        off = ours.state is State.SHUTOFF
        both_off = off and state is State.SHUTOFF and ours.saved is None
        gone = ((off or left) and state in RUNS) or both_off
        if gone and self._are_equal(ours):
            self.move.write(self.here, EndLeftover(ours.state, ours.reason), ours)
            return self.arrived(before or ours)
        return self._unsure(ours, theirs)

    def stays(self, ours: Observed) -> Report:
        """What is to be said of one that is here and not there; it goes on."""
        move = self.move
        left = ours.reason == "migrating" or (move.suspended and ours.reason == "user")
        if ours.state is State.PAUSED and left:
            # The destination says that it has none: nobody else can have let it go on.
            move.write(self.here, ResumeAfterMigration(), ours)
        if move.by_hand:
            return move.ended_by_hand()
        if (finding := explain_failure(move.error)) is not None and not move.aborted:
            return refused(finding)
        return Report(End.STAYED, f"{_why(move)}; it stays here")

    def arrived(self, before: Observed | None) -> Report:
        """What is to be said of one that is there and not here."""
        move = self.move
        if before is not None:
            move.copies.note(before.uuid, move.destination.name, {})
        if before is not None and before.autostart:
            # libvirt takes everything along but this.
            found = self.there.observe(move.name, before.uuid)
            if found is not None and found.uuid == before.uuid:
                move.write(self.there, SetAutostart(on=True), found)
        with contextlib.suppress(HypervisorError):
            # It was asked twice a second at most: of a fast one nothing was seen, of none the end.
            move.seen = self.there.completed(move.name) or move.seen
        return Report(End.MOVED, f"it was moved to {move.destination.name}")

    def _end_theirs(self, uuid: str, theirs: tuple[State, str]) -> None:
        found = self.there.observe(self.move.name, uuid)
        if found is not None and found.uuid == uuid:
            self.move.write(self.there, EndLeftover(*theirs), found)

    def _are_equal(self, ours: Observed) -> bool:
        """Whether both definitions are the same: one that was made by hand is left alone."""
        own, other = (each.definition(ours.uuid) for each in (self.here, self.there))
        return same_definition(own, other)

    def _unsure(self, ours: Observed, theirs: tuple[State, str]) -> Report:
        told = f"{ours.state} ({ours.reason}) here, and {theirs[0]} ({theirs[1]}) there"
        host = self.move.destination.name
        return Report(
            End.UNSURE,
            f"this host and {host} both have it, {told}, and the journal of its migration does not "
            "say that one was left behind: see which is the right one, and undefine the other",
        )
