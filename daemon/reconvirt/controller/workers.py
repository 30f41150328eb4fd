"""The threads that reconcile: as many as are wanted, besides those that a hung QEMU holds.

A call that hangs in a virtual server's QEMU cannot be given up, and holds its worker. Another
worker takes its place, so that the other virtual servers are served; there is a bound on that,
since each call that hangs keeps one of libvirtd's own threads as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from reconvirt.controller.liveness import Pulse
from reconvirt.hypervisor.in_flight import IN_FLIGHT, STUCK_SECONDS, Call, InFlight
from reconvirt.hypervisor.supervision import THREADS, Beat, Supervisor

MOST_REPLACED = 10
"""How many workers that are stuck in a call are replaced."""

_TEND_SECONDS = 1.0
_PATIENCE = 15.0
_POLL_SECONDS = 0.1
# They take their time, which says nothing of a QEMU that hangs.
_LONG_CALLS = frozenset({"save", "dump", "create-image", "grow-image"})

_log = structlog.get_logger(__name__)


class Workers:
    """A pool of workers.

    Args:
        work: does one piece of work; False if the worker is to end.
        count: how many work at a time.
        pulse: gets to know how many there are.
        most_replaced: how many that are stuck in a call are replaced.
        in_flight: knows the calls that have not come back.
        supervisor: runs the threads.
    """

    def __init__(
        self,
        work: Callable[[], bool],
        count: int,
        pulse: Pulse,
        *,
        most_replaced: int = MOST_REPLACED,
        in_flight: InFlight = IN_FLIGHT,
        supervisor: Supervisor = THREADS,
    ) -> None:
        self._work = work
        self._count = count
        self._pulse = pulse
        self._most_replaced = most_replaced
        self._in_flight = in_flight
        self._supervisor = supervisor
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: dict[int, threading.Thread] = {}
        self._number = 0
        self._reported: set[Call] = set()

    def start(self) -> None:
        """Start them."""
        with self._lock:
            for _ in range(self._count):
                self._start_one()
        beat = Beat()
        self._supervisor.start("workers", lambda: self._keep(beat), self._stop, beat=beat)

    def stop(self, patience: float | None = None) -> bool:
        """Wait until they have ended, but for those that are stuck in a call that hangs.

        Whatever has them end by themselves must have happened before.

        Args:
            patience: seconds that any call may take; None for the usual time, and for as long as
                it takes to save or dump a guest or to make an image.

        Returns:
            Whether all have ended.
        """
        self._stop.set()
        while True:
            with self._lock:
                left = set(self._threads)
            if not left:
                return True
            hung = {
                each.thread
                for each in self._in_flight.older_than(_PATIENCE if patience is None else patience)
                if patience is not None or each.what not in _LONG_CALLS
            }
            if left <= hung:
                return False
            time.sleep(_POLL_SECONDS)

    def tend(self) -> None:
        """Replace those that are stuck; called every second."""
        calls = {each.thread: each for each in self._in_flight.older_than(STUCK_SECONDS)}
        with self._lock:
            if self._stop.is_set():
                return
            stuck = [each for ident, each in calls.items() if ident in self._threads]
            missing = self._count - (len(self._threads) - len(stuck))
            room = self._count + self._most_replaced - len(self._threads)
            for _ in range(min(missing, room)):
                self._start_one()
        for call in set(stuck) - self._reported:
            _log.warning(
                "a call to libvirt does not come back; another worker takes over",
                call=call.what,
                subject=call.subject,
                seconds=round(self._in_flight.age(call)),
            )
        self._reported = set(stuck)

    def _keep(self, beat: Beat) -> None:
        while not beat.wait(self._stop, _TEND_SECONDS):
            self.tend()

    def _start_one(self) -> None:
        self._number += 1
        self._pulse.workers = len(self._threads) + 1
        thread = self._supervisor.start(
            "worker", self._run, self._stop, name=f"worker-{self._number}"
        )
        # It cannot have ended: for that it needs our lock.
        self._threads[thread.ident or 0] = thread

    def _run(self) -> None:
        while not self._is_surplus() and self._work():
            pass
        with self._lock:
            self._threads.pop(threading.get_ident(), None)
            self._pulse.workers = len(self._threads)

    def _is_surplus(self) -> bool:
        """Whether there are more than are wanted, since some are not stuck any more."""
        stuck = {each.thread for each in self._in_flight.older_than(STUCK_SECONDS)}
        with self._lock:
            return len(self._threads.keys() - stuck) > self._count
