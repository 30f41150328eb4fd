"""Signs of life of the daemon's parts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconvirt.hypervisor.supervision import Beat

__all__ = ["Beat", "Pulse"]


class Pulse:
    """What the workers of a pool are busy with, and for how long.

    Args:
        workers: how many there are; the attribute of this name follows when that changes.
        clock: seconds that never go back.
    """

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.workers = workers
        self._clock = clock
        self._lock = threading.Lock()
        self._since: dict[int, float] = {}

    @contextmanager
    def busy(self) -> Iterator[None]:
        """The calling worker has something to do inside the block."""
        me = threading.get_ident()
        with self._lock:
            self._since[me] = self._clock()
        try:
            yield
        finally:
            with self._lock:
                del self._since[me]

    def age(self) -> float:
        """Seconds since any of the workers was free; 0 while one is.

        One that hangs holds up nobody but its own virtual server; all of them, everything.
        """
        with self._lock:
            if len(self._since) < self.workers:
                return 0.0
            return self._clock() - max(self._since.values())
