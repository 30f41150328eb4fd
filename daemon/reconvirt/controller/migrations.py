"""The migrations away from this host: one a virtual server, only so many at a time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from reconvirt.controller.copies import Copies
from reconvirt.controller.history import History
from reconvirt.controller.move import End, Move, Report
from reconvirt.domain.desired import Desired
from reconvirt.domain.migration import Progress
from reconvirt.domain.placing import Inventory
from reconvirt.metrics.fleet import Migration

_FIRST_PAUSE = 10.0
_LONGEST_PAUSE = 900.0
_FULL_PAUSE = 5.0
_PHASES = {End.MOVED: "succeeded", End.FULL: "waiting"}
"""What has not failed, by the words of the metrics."""

_log = structlog.get_logger(__name__)


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


@dataclass(slots=True)
class _Past:
    """The last tries to move one virtual server the same way."""

    report: Report
    not_before: float
    failures: int
    wanted: tuple[Desired, str]


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
    """

    def __init__(
        self,
        uri: str,
        inventory: Callable[[], Inventory],
        wake: Callable[[str], None],
        on_progress: Callable[[str, Progress | None], None],
        history: History,
        copies: Copies,
    ) -> None:
        self._uri = uri
        self._copies = copies
        self._inventory = inventory
        self._wake = wake
        self._on_progress = on_progress
        self._history = history
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._moves: dict[str, Move] = {}
        self._waiting: dict[str, str] = {}
        self._past: dict[str, _Past] = {}
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
        """How many migrations have ended, by :class:`~reconvirt.controller.move.End`.

        One that has found the destination full has not begun.
        """
        with self._lock:
            return {str(each): self._ended[each] for each in End if each is not End.FULL}

    def moving(self, name: str) -> bool:
        """Whether a virtual server is on its way."""
        return name in self._moves

    def move(self, desired: Desired) -> Standing:
        """Have a virtual server moved where it shall be; returns at once."""
        inventory = self._inventory()
        destination = inventory.destination(desired)
        if destination is None:
            return Standing("it shall stay here")
        with self._lock:
            move = self._moves.get(desired.name)
            if move is not None:
                if move.destination.name != destination.name:
                    move.abort(f"it shall be on {destination.name}")
                return Standing(_told(move), underway=True)
            past, now = self._past.get(desired.name), time.monotonic()
            wanted = (desired, repr(destination))
            waited = past is not None and past.report.end is End.FULL
            if past is not None and past.wanted == wanted and now < past.not_before:
                return Standing(past.report.message, False, past.not_before - now, past.report)
            if (slot := self._full(inventory, destination.name)) is not None:
                self._waiting[desired.name] = destination.name
                return Standing(f"it waits for a slot to move {slot}", underway=True)
            self._waiting.pop(desired.name, None)
            move = Move(
                desired,
                self._uri,
                inventory.hosts.get(inventory.own),
                destination,
                self._copies,
                self._on_progress,
                self._stopping,
            )
            self._moves[desired.name] = move
        if not waited:
            self._history.tell(desired.name, "MigrationBegun", f"to {destination.name}")
        name = f"migration-{desired.name}"
        # A host that is away may keep it waiting; the daemon's end does not.
        threading.Thread(
            target=self._carry_out, args=(move, wanted), name=name, daemon=True
        ).start()
        return Standing(_told(move), underway=True)

    def abort(self, name: str, why: str) -> bool:
        """End the migration of a virtual server; False if there is none."""
        with self._lock:
            self._waiting.pop(name, None)
            move = self._moves.get(name)
            if move is None:
                # It shall stay: nobody waits for what has failed.
                self._forget_failure(name)
                return False
            move.abort(why)
            return True

    def gone(self, desired: Desired) -> None:
        """A virtual server that shall be elsewhere is not here."""
        self.forget(desired.name)
        self._copies.arrived(desired.expected_uuid)

    def forget(self, name: str) -> None:
        """It is to be tried anew, or not at all."""
        with self._lock:
            self._past.pop(name, None)
            self._waiting.pop(name, None)
            self._forget_failure(name)

    def _forget_failure(self, name: str) -> None:
        last = self._last.get(name)
        if last is not None and last.phase != _PHASES[End.MOVED]:
            del self._last[name]

    def stop(self) -> None:
        """End watching; libvirt's daemons carry on what they have begun."""
        self._stopping.set()

    def _full(self, inventory: Inventory, destination: str) -> str | None:
        """For which slot one must wait; None if both are free."""
        own, other = inventory.hosts.get(inventory.own), inventory.hosts[destination]
        if len(self._moves) >= (own.slots_out if own else 1):
            return f"away from {inventory.own}"
        going = [each for each in self._moves.values() if each.destination.name == destination]
        return f"to {destination}" if len(going) >= other.slots_in else None

    def _carry_out(self, move: Move, wanted: tuple[Desired, str]) -> None:
        try:
            report = move.run()
        except Exception:  # noqa: BLE001 - the slot must be free again, whatever happens
            _log.exception("unexpected error, please report it", virtual_server=move.name)
            report = Report(End.UNSURE, "an unexpected error, see the log")
        with self._lock:
            del self._moves[move.name]
            if report is not None:
                past = self._past.get(move.name)
                waited = past is not None and past.report.end is End.FULL
                self._note(move.name, report, wanted)
                phase = _PHASES.get(report.end, "failed")
                self._last[move.name] = _as_metric(move.name, phase, move.seen)
                self._ended[report.end] += 1
            waiting = list(self._waiting)
        if report is None:
            return
        if report.end is not End.FULL:
            moved = report.end is End.MOVED
            reason, level = ("MigrationDone", "info") if moved else ("MigrationNotDone", "warning")
            self._history.tell(move.name, reason, report.message, level=level)
        elif not waited:
            self._history.tell(move.name, "MigrationWaits", report.message)
        for name in (move.name, *waiting):
            self._wake(name)

    def _note(self, name: str, report: Report, wanted: tuple[Desired, str]) -> None:
        before = self._past.pop(name, None)
        if report.end is End.MOVED:
            return
        failures = before.failures + 1 if before is not None and before.wanted == wanted else 1
        pause = min(_FIRST_PAUSE * 2 ** (failures - 1), _LONGEST_PAUSE)
        if report.end is End.FULL:
            pause, failures = _FULL_PAUSE, 0
        self._past[name] = _Past(report, time.monotonic() + pause, failures, wanted)


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
    )


def _told(move: Move) -> str:
    # How far it is changes all the time, and is told beside this: no event tells of it.
    return f"it moves to {move.destination.name}"
