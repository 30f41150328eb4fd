"""A queue of names to look at, with the semantics that Kubernetes' controllers have proven.

1. A key waits at most once. 2. A key is worked on by at most one worker. 3. An add while it is
worked on is not lost: it waits again when the work is done. 4. Of two delayed adds the earlier
counts. 5. An add of higher priority raises one that waits. 6. Forgetting clears a key's failures
and nothing that waits. 7. After closing, what waits is not handed out any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Generic, TypeVar

from reconvirt.controller.backoff import Backoff
from reconvirt.controller.lazy_heap import LazyHeap
from reconvirt.metrics.observer import SILENT, Observer

Key = TypeVar("Key", bound=Hashable)


class Priority(IntEnum):
    """What goes first."""

    RESYNC = 0
    """Looked at to be sure; whatever has changed goes before it."""
    CHANGE = 1
    """Something has changed."""


class Closed(Exception):
    """The queue is closed: a worker may go home."""


class WorkQueue(Generic[Key]):
    """Keys that wait for a worker.

    Args:
        clock: seconds that never go back.
        backoff: how long a key that has failed waits.
        observer: told of what waits and what is worked on.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        backoff: Backoff | None = None,
        observer: Observer = SILENT,
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._changed = threading.Condition()
        # By negative priority, since the highest goes first.
        self._ready: LazyHeap[Key, int] = LazyHeap()
        # By the time at which they are due.
        self._later: LazyHeap[Key, tuple[float, Priority]] = LazyHeap()
        self._working: dict[Key, float] = {}
        self._again: dict[Key, Priority] = {}
        self._failures: dict[Key, int] = {}
        self._closed = False

    def add(self, key: Key, priority: Priority = Priority.CHANGE) -> None:
        """Have a key looked at as soon as a worker is free."""
        with self._changed:
            if not self._closed:
                self._add(key, priority)

    def add_after(self, key: Key, delay: float, priority: Priority = Priority.RESYNC) -> None:
        """Have a key looked at in ``delay`` seconds, or earlier if it is to be earlier anyway."""
        with self._changed:
            if self._closed:
                return
            due = self._clock() + max(delay, 0.0)
            known = self._later.rank(key)
            if known is not None:
                due, priority = min(due, known[0]), max(priority, known[1])
            self._later.put(key, (due, priority))
            self._changed.notify()

    def add_rate_limited(self, key: Key) -> float:
        """Have a key that has failed looked at again, later each time; the seconds until then."""
        with self._changed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
        self._observer.retried(key)
        delay = self._backoff.delay(failures)
        self.add_after(key, delay, Priority.CHANGE)
        return delay

    def forget(self, key: Key) -> None:
        """A key has not failed."""
        with self._changed:
            self._failures.pop(key, None)

    def failures(self, key: Key) -> int:
        """How often a key has failed since it was last forgotten."""
        return self._failures.get(key, 0)

    def get(self, timeout: float | None = None) -> Key | None:
        """The next key, which the caller must give back with :meth:`done`.

        Args:
            timeout: seconds to wait; None waits for ever.

        Returns:
            The key; None if none came in time.

        Raises:
            Closed: the queue is closed.
        """
        end = None if timeout is None else self._clock() + timeout
        with self._changed:
            while True:
                if self._closed:
                    raise Closed
                now = self._clock()
                self._take_due(now)
                if (key := self._pop()) is not None:
                    self._working[key] = now
                    self._observer.taken(key)
                    return key
                pauses = [due - now for due in self._next_times(end)]
                if end is not None and now >= end:
                    return None
                self._changed.wait(min(pauses, default=None))

    def done(self, key: Key) -> None:
        """The work on a key is done; if it was added meanwhile, it waits again."""
        with self._changed:
            self._working.pop(key, None)
            self._observer.finished(key)
            priority = self._again.pop(key, None)
            if priority is not None and not self._closed:
                self._add(key, priority)

    def close(self) -> None:
        """Hand out nothing any more; what is worked on is not disturbed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def depth(self) -> int:
        """How many keys wait for a worker now."""
        return len(self._ready)

    def delay(self, key: Key) -> float | None:
        """Seconds until a key comes by itself; None if it does not."""
        with self._changed:
            due = self._later.rank(key)
            return None if due is None else max(due[0] - self._clock(), 0.0)

    def longest_running(self) -> float:
        """For how many seconds the oldest work in hand has been going on."""
        with self._changed:
            began = min(self._working.values(), default=None)
            return 0.0 if began is None else self._clock() - began

    def _add(self, key: Key, priority: Priority) -> None:
        # What was to come later comes now.
        self._later.discard(key)
        if key in self._working:
            self._again[key] = max(priority, self._again.get(key, priority))
            return
        known = self._ready.rank(key)
        if known is None or priority > -known:
            self._ready.put(key, -priority)
            self._observer.queued(key, priority.name.lower())
            self._changed.notify()

    def _pop(self) -> Key | None:
        found = self._ready.first()
        if found is None:
            return None
        _, key = found
        self._ready.discard(key)
        return key

    def _take_due(self, now: float) -> None:
        while (found := self._later.first()) is not None:
            (due, priority), key = found
            if due > now:
                return
            self._add(key, priority)

    def _next_times(self, end: float | None) -> list[float]:
        found = self._later.first()
        times = [found[0][0]] if found else []
        return times if end is None else [*times, end]
