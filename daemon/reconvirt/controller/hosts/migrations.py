"""The migrations away from this host: one a virtual server, only so many at a time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import structlog

from reconvirt.controller.guard import Guard
from reconvirt.controller.history import History
from reconvirt.controller.hosts.copies import Copies
from reconvirt.controller.hosts.migration_journal import MigrationJournal
from reconvirt.controller.hosts.move import Move
from reconvirt.controller.hosts.report import End, Report, Standing
from reconvirt.controller.hosts.tries import Past, Wanted, next_try
from reconvirt.domain.desired import Desired
from reconvirt.domain.migration import Progress
from reconvirt.domain.placing import Inventory
from reconvirt.hypervisor.supervision import THREADS
from reconvirt.manifest.host import HostManifest
from reconvirt.metrics.fleet import Migration

_PHASES = {End.MOVED: "succeeded", End.FULL: "waiting"}
"""What has not failed, by the words of the metrics."""

_log = structlog.get_logger(__name__)


class Migrations:
    """Carries migrations out, each in a thread of its own.

    Args:
        uri: where libvirt is here.
        inventory: gives this host and the others, which may change.
        wake: called with the name of a virtual server whose migration has ended, or whose turn has
            come.
        on_progress: told how far each is, and None at its end.
        history: told beginning and end.
        copies: keeps which images were made at other hosts.
        journal: keeps what was begun.

    Attributes:
        guard: makes the writing calls; it is the daemon's own, which is set when that is there.
    """

    def __init__(
        self,
        uri: str,
        inventory: Callable[[], Inventory],
        wake: Callable[[str], None],
        on_progress: Callable[[str, Progress | None], None],
        history: History,
        copies: Copies,
        journal: MigrationJournal,
    ) -> None:
        self._uri = uri
        self._journal = journal
        self.guard = Guard()
        self._copies = copies
        self._inventory = inventory
        self._wake = wake
        self._on_progress = on_progress
        self._history = history
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._moves: dict[str, Move] = {}
        self._waiting: dict[str, str] = {}
        self._past: dict[str, Past] = {}
        self._last: dict[str, Migration] = {}
        self._ended: Counter[End] = Counter()

    def seen(self) -> tuple[Migration, ...]:
        """Those that wait or run, and else the last one of each virtual server."""
        with self._lock:
            last, moves, waiting = dict(self._last), dict(self._moves), set(self._waiting)
        last |= {name: _as_metric(name, "waiting", None) for name in waiting}
        last |= {name: _as_metric(name, "running", each.progress) for name, each in moves.items()}
        return tuple(last.values())

    def ended(self) -> Mapping[str, int]:
        """How many migrations have ended, by :class:`~reconvirt.controller.hosts.move.End`.

        One that has found the destination full has not begun.
        """
        with self._lock:
            return {str(each): self._ended[each] for each in End if each is not End.FULL}

    def moving(self, name: str) -> bool:
        """Whether a virtual server is on its way."""
        return name in self._moves

    def move(self, desired: Desired) -> Standing:
        """Have a virtual server that is here moved where it shall be; returns at once."""
        inventory = self._inventory()
        wanted = (desired, inventory.destinations(desired))
        if not wanted[1]:
            return Standing("it shall stay here")
        with self._lock:
            move = self._moves.get(desired.name)
            sent = self._sent(desired.name)
            if move is not None and move.destination not in wanted[1]:
                move.abort(f"it shall be on {wanted[1][0].name}")
                if not move.sending and sent is None:
                    # Nothing was sent: what it waits for may never come.
                    del self._moves[desired.name]
                    move = None
            if move is not None:
                return Standing(_told(move), underway=True)
            # What an earlier process has begun may go on, whatever the manifest says by now.
            ended = "" if sent is not None else self._journal.ended(desired)
            if ended or (ended := self._journal.unreadable):
                return Standing.refused(ended)
            if (pause := self._pause(wanted)) is not None:
                return pause
            past = self._past.get(desired.name)
            waited = past is not None and past.report.end is End.FULL
            tried = past.tried if past is not None and past.wanted == wanted else {}
            left = (each for each in wanted[1] if each.name not in tried)
            destination = sent or next(left, wanted[1][0])
            if (slot := self._full(inventory, destination.name)) is not None:
                return self._wait(desired.name, destination.name, slot)
            self._waiting.pop(desired.name, None)
            move = self._begin(wanted, destination)
            move.waited = waited
        if not waited:
            self._history.tell(desired.name, "MigrationBegun", f"to {destination.name}")
        return Standing(_told(move), underway=True)

    def _begin(self, wanted: Wanted, destination: HostManifest) -> Move:
        desired, inventory = wanted[0], self._inventory()
        move = Move(
            desired,
            self._uri,
            inventory.hosts.get(inventory.own),
            destination,
            self._copies,
            self._journal,
            self.guard,
            self._take_slot,
            self._on_progress,
            self._stopping,
            inventory.own,
            begins=destination in wanted[1],
        )
        name = f"migration-{desired.name}"
        # A host that is away may keep it waiting; the daemon's end does not.
        threading.Thread(
            target=self._carry_out, args=(move, wanted), name=name, daemon=True
        ).start()
        # It cannot have ended: for that it needs our lock.
        self._moves[desired.name] = move
        return move

    def _sent(self, name: str) -> HostManifest | None:
        """The host to which one is on its way, for all that is known.

        Its manifest may be gone, or describe another libvirt by now: the journal knows better.
        """
        entry = self._journal.find(name)
        if entry is None or not (host := self._journal.underway(name)):
            return None
        described = self._inventory().hosts.get(host)
        if described is not None and entry.uri in ("", described.uri):
            return described
        return HostManifest(host, entry.uri) if entry.uri else None

    def end(self, desired: Desired, *, here: bool) -> Standing | None:
        """End the migration of a virtual server that shall stay here; None if there is none.

        Called at each look.

        Args:
            desired: what is wanted of it.
            here: whether it is here.
        """
        why, wanted = "it shall stay here", (desired, ())
        waiting: list[str] = []
        with self._lock:
            self._waiting.pop(desired.name, None)
            move = self._moves.get(desired.name)
            sent = self._sent(desired.name)
            if move is None and sent is not None and here:
                # An earlier process has begun it, or nobody could tell how it has ended.
                if (pause := self._pause(wanted)) is not None:
                    return pause
                move = self._begin(wanted, sent)
            if move is not None:
                move.abort(why)
                if move.sending or sent is not None:
                    return Standing("its migration is being ended", underway=True, again_after=1.0)
                # Nothing was sent, and nothing will be: whatever it waits for, nobody else does.
                del self._moves[desired.name]
                waiting = list(self._waiting)
            # Nobody waits for what has failed.
            self._forget_failure(desired.name)
        if here:
            self._journal.stay(desired.name)
        for name in waiting:
            self._wake(name)
        return None

    def _pause(self, wanted: Wanted) -> Standing | None:
        """What the last try to move one this way came to, where it is too early for another."""
        past, now = self._past.get(wanted[0].name), time.monotonic()
        if past is None or past.wanted != wanted or now >= past.not_before:
            return None
        return Standing(past.report.message, False, past.not_before - now, past.report)

    def unknown(self) -> str:
        """Why it is not known what was migrated, so that nothing may follow from it; "" if it is.

        Then a guest that a migration may have left behind must not be resumed or undefined.
        """
        return self._journal.unreadable

    def sent(self, name: str) -> str:
        """The host to which a virtual server was sent last; "" where it is not known."""
        return self._journal.host(name)

    def gone(self, desired: Desired) -> None:
        """A virtual server that shall be elsewhere is not here."""
        with self._lock:
            self._past.pop(desired.name, None)
            self._waiting.pop(desired.name, None)
        self._copies.arrived(desired.expected_uuid)
        if self._journal.underway(desired.name):
            self._journal.arrive(desired.name)

    def forget(self, name: str) -> None:
        """It is to be tried anew: somebody has said so."""
        if not self.moving(name):
            self._journal.release(name)
        with self._lock:
            self._past.pop(name, None)
            self._waiting.pop(name, None)
            self._forget_failure(name)

    def let_go(self, name: str) -> None:
        """Its manifest is gone: it waits for nothing any more; a migration that runs goes on."""
        with self._lock:
            for each in (self._past, self._waiting, self._last):
                each.pop(name, None)

    def _forget_failure(self, name: str) -> None:
        last = self._last.get(name)
        if last is not None and last.phase != _PHASES[End.MOVED]:
            del self._last[name]

    def stop(self) -> None:
        """End watching; libvirt's daemons carry on what they have begun."""
        self._stopping.set()

    def _wait(self, name: str, destination: str, slot: str) -> Standing:
        self._waiting[name] = destination
        return Standing(f"it waits for a slot to move {slot}", underway=True)

    def _full(self, inventory: Inventory, destination: str) -> str | None:
        """For which slot one must wait; None if both are free.

        Only what is being sent takes one of the slots to move away: a destination that does not
        answer keeps nothing from moving to another one.
        """
        if away := self._none_away(inventory):
            return away
        going = [each for each in self._moves.values() if each.destination.name == destination]
        there = inventory.hosts.get(destination)
        return f"to {destination}" if len(going) >= (there.slots_in if there else 1) else None

    def _none_away(self, inventory: Inventory) -> str:
        """The words for that no slot to move away is free; "" if one is."""
        own = inventory.hosts.get(inventory.own)
        sending = sum(each.sending for each in self._moves.values())
        return f"away from {inventory.own}" if sending >= (own.slots_out if own else 1) else ""

    def _take_slot(self, move: Move, already: bool) -> str:
        """Why a migration must not send its memory now; "" if it may, and counts as sending.

        Args:
            move: the migration.
            already: whether it is being sent, whatever is free.
        """
        with self._lock:
            if self._moves.get(move.name) is not move or (move.aborted and not already):
                return f"its migration was ended: {move.aborted or 'it shall stay here'}"
            if not already and (slot := self._none_away(self._inventory())):
                self._waiting[move.name] = move.destination.name
                return f"it waits for a slot to move {slot}"
            move.sending = True
            return ""

    def _carry_out(self, move: Move, wanted: Wanted) -> None:
        report = self._run(move)
        for left in move.left:
            self._history.tell(move.name, "ImageLeft", left, level="warning")
        with self._lock:
            if self._moves.get(move.name) is not move:
                return  # It was ended before anything was sent, and nobody waits for it.
        if report is not None:
            # While it still counts as under way, or it would be begun again; and nobody who only
            # wants to know how it stands waits for the disk.
            self._keep(move, report)
        with self._lock:
            del self._moves[move.name]
            if report is not None:
                self._note(move, report, wanted)
            waiting = [name for name in self._waiting if name != move.name]
        if report is None:
            return
        self._report(move, report)
        for name in (move.name, *waiting):
            self._wake(name)

    def _report(self, move: Move, report: Report) -> None:
        if report.end is not End.FULL:
            moved = report.end is End.MOVED
            reason, level = ("MigrationDone", "info") if moved else ("MigrationNotDone", "warning")
            self._history.tell(move.name, reason, report.message, level=level)
        elif not move.waited:
            self._history.tell(move.name, "MigrationWaits", report.message)

    def _run(self, move: Move) -> Report | None:
        """Move it; what came of it, or None if the daemon ends meanwhile."""
        try:
            if self._journal.abort_requested(move.name):
                # A person has ended it while no daemon ran.
                move.begins = False
            report = move.run()
        except OSError as error:
            report = Report(End.UNSURE, f"what is to be known of it cannot be kept: {error}")
        except Exception:  # noqa: BLE001 - the slot must be free again, whatever happens
            with structlog.contextvars.bound_contextvars(virtual_server=move.name):
                THREADS.failed("migration")
            report = Report(End.UNSURE, "an unexpected error, see the log")
        # While it goes on, the wish is for the next daemon.
        wished = report is not None and self._journal.take_abort_request(move.name)
        if wished and report is not None and report.end is End.STAYED and not move.aborted:
            return move.ended_by_hand()
        return report

    def _keep(self, move: Move, report: Report) -> None:
        if report.end is End.MOVED:
            self._journal.arrive(move.name)
        elif report.by_hand:
            uuid = move.uuid or move.desired.expected_uuid
            self._journal.end_by_hand(uuid, report.message, move.desired)
        elif report.end is not End.UNSURE:
            self._journal.stay(move.name)

    def _note(self, move: Move, report: Report, wanted: Wanted) -> None:
        """Keep what came of it for the next try; called with the lock."""
        phase = _PHASES.get(report.end, "failed")
        self._last[move.name] = _as_metric(move.name, phase, move.seen)
        self._ended[report.end] += 1
        before = self._past.pop(move.name, None)
        if report.end is End.MOVED or report.by_hand:
            return
        if report.end is End.FULL and move.name in self._waiting:
            return  # It waits for one that is being sent away, and is woken at its end.
        if before is None or before.wanted != wanted:
            before = Past(wanted, report)
        self._past[move.name] = next_try(before, move.destination.name, report, time.monotonic())


def _as_metric(name: str, phase: str, progress: Progress | None) -> Migration:
    if progress is None:
        return Migration(name, "out", phase)
    return Migration(
        name,
        "out",
        phase,
        seconds=progress.elapsed,
        # While it goes on that is only what QEMU expects.
        downtime_seconds=progress.downtime / 1000 if progress.phase == "completed" else None,
        data_bytes=progress.processed,
        remaining_bytes=progress.remaining,
        expected_end_seconds=progress.expected_end if phase == "running" else None,
    )


def _told(move: Move) -> str:
    # How far it is changes all the time, and is told beside this: no event tells of it.
    return f"it moves to {move.destination.name}"
