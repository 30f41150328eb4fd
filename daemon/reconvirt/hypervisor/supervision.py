"""Threads that are supervised: what ends one unforeseen is logged, counted, and it goes on.

A thread that has ended by an exception is missed by nobody: the daemon would run on without its
metrics, or without its manifests. So the body of each is started again after a pause that grows
while it fails, and the watchdog of the service manager knows when each gave its last sign of life.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0

_SLICE = 1.0

_log = structlog.get_logger(__name__)


class Beat:
    """The last sign of life of a part that goes round in a loop.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def __call__(self) -> None:
        """Give a sign of life."""
        self._last = self._clock()

    def age(self) -> float:
        """Seconds since the last sign of life."""
        return self._clock() - self._last

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """Wait for an event, giving signs of life meanwhile; whether it has come.

        Args:
            event: what is waited for.
            seconds: for how long; None for as long as it takes.
        """
        end = float("inf") if seconds is None else self._clock() + seconds
        while (left := end - self._clock()) > 0:
            self()
            if event.wait(min(left, _SLICE)):
                return True
        self()
        return event.is_set()


class Supervisor:
    """Runs the bodies of threads, again and again until they return.

    Args:
        first_pause: seconds between a body's first failure and its next start; doubled at each
            further one.
        longest_pause: the limit of that; one that has run for so long has recovered.
    """

    def __init__(
        self, first_pause: float = FIRST_PAUSE, longest_pause: float = LONGEST_PAUSE
    ) -> None:
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._lock = threading.Lock()
        self._failures: dict[str, int] = {}
        self._ages: dict[str, tuple[Callable[[], float], float]] = {}

    def start(
        self,
        kind: str,
        body: Callable[[], object],
        stop: threading.Event,
        *,
        name: str = "",
        beat: Beat | None = None,
        may_take: float = 0.0,
    ) -> threading.Thread:
        """Start a thread, which does not keep the process from ending.

        Args:
            kind: what it is, as metrics and the watchdog name it.
            body: returns when the thread is to end.
            stop: set when it is to end; a body that fails is not started again then.
            name: of the thread; ``kind`` if "".
            beat: gets its signs of life; None if something else knows whether it lives.
            may_take: seconds for which it may give none without being stuck.
        """
        with self._lock:
            self._failures.setdefault(kind, 0)
            if beat is not None:
                beat()
                self._ages[kind] = (beat.age, may_take)
        thread = threading.Thread(
            target=self._run, args=(kind, body, stop, beat), name=name or kind, daemon=True
        )
        thread.start()
        return thread

    @contextmanager
    def guarded(self, kind: str) -> Iterator[None]:
        """Log and count what goes wrong unforeseen inside the block, and go on after it."""
        try:
            yield
        except Exception:  # noqa: BLE001 - whatever it is, the thread goes on
            self.failed(kind)

    def failed(self, kind: str) -> None:
        """Log and count the exception that is being handled."""
        with self._lock:
            self._failures[kind] = self._failures.get(kind, 0) + 1
        _log.exception("unexpected error, please report it", thread=kind)

    @property
    def failures(self) -> Mapping[str, int]:
        """How often each kind of thread has failed unforeseen."""
        with self._lock:
            return dict(self._failures)

    def ages(self) -> Mapping[str, float]:
        """Seconds since each thread that runs gave its last sign of life, beyond what it may."""
        with self._lock:
            ages = dict(self._ages)
        return {kind: max(age() - may_take, 0.0) for kind, (age, may_take) in ages.items()}

    def _run(
        self, kind: str, body: Callable[[], object], stop: threading.Event, beat: Beat | None
    ) -> None:
        pause = self._first_pause
        while True:
            began = time.monotonic()
            try:
                body()
            except Exception:  # noqa: BLE001 - whatever it is, the thread goes on
                self.failed(kind)
            else:
                break
            if time.monotonic() - began >= self._longest_pause:
                pause = self._first_pause
            if (beat or Beat()).wait(stop, pause):
                break
            pause = min(2 * pause, self._longest_pause)
        if beat is not None:
            with self._lock:
                self._ages.pop(kind, None)


THREADS = Supervisor()
"""The one of this process."""
