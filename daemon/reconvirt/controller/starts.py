"""Starting in order, not all at once, and not again and again what ends at once."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

SETTLED_SECONDS = 60.0
"""How long a virtual server must have run for its start to count as good."""

_STEP_SECONDS = 10.0
_LONGEST_SECONDS = 300.0


@dataclass(slots=True)
class StartRecord:
    """How the starts of one virtual server went.

    Attributes:
        started_at: when it was last started by us and has not ended since; None otherwise.
        failures: how often in a row it has ended soon after its start.
        not_before: when it may be started again.
    """

    started_at: float | None = None
    failures: int = 0
    not_before: float = 0.0

    def started(self, now: float) -> None:
        """It was started."""
        self.started_at = now

    def ended_by_us(self) -> None:
        """It ends since we have asked for it: that says nothing against it."""
        self.started_at = None

    def seen(self, now: float, *, runs: bool, by_itself: bool = True) -> None:
        """It was looked at.

        Args:
            now: seconds that never go back.
            runs: whether it is there.
            by_itself: whether it has ended by itself, and not by somebody's word.
        """
        if self.started_at is None:
            return
        settled = now - self.started_at >= SETTLED_SECONDS
        if settled:
            self.failures = 0
        if runs:
            return
        self.started_at = None
        if not settled and by_itself:
            self.failures += 1
            self.not_before = now + _pause_after(self.failures)

    def why_not_yet(self, now: float) -> str:
        """Why it must not be started now; "" if it may."""
        if self.not_before <= now:
            return ""
        times = "once" if self.failures == 1 else f"{self.failures} times"
        # Not how long that is from now on: the sentence stays the same until it is started.
        pause = _pause_after(self.failures)
        return f"it has ended {times} soon after its start; it is started again {pause:.0f} s later"


def _pause_after(failures: int) -> float:
    """Seconds until another start, after so many failures in a row."""
    return min(_STEP_SECONDS * failures**2, _LONGEST_SECONDS)


class StartGate:
    """At most so many starts at a time; who waits is woken, the highest priority first.

    Whoever is woken must come again, or say by :meth:`forget` that it does not: its turn is kept.

    Args:
        most: how many.
        on_free: called with the name of one that waited and whose turn it is, perhaps repeatedly.
    """

    def __init__(self, most: int, on_free: Callable[[str], None] = lambda _name: None) -> None:
        self._most = most
        self._on_free = on_free
        self._lock = threading.Lock()
        self._starting: set[str] = set()
        self._waiting: dict[str, int] = {}

    def enter(self, name: str, priority: int) -> bool:
        """Whether one may start now; if not, it is woken when its turn has come."""
        with self._lock:
            before = self._next()
            self._waiting[name] = priority
            entered = name in self._next()
            if entered:
                del self._waiting[name]
                self._starting.add(name)
            # One that comes with a lower priority than before lets another go first.
            turns = [each for each in self._next() if each not in before]
        self._wake(turns)
        return entered

    def leave(self, name: str) -> None:
        """A start is done, or has failed."""
        with self._lock:
            self._starting.discard(name)
            turns = self._next()
        self._wake(turns)

    def forget(self, name: str) -> None:
        """One does not want to start any more, or cannot: it keeps nobody waiting."""
        with self._lock:
            waited = self._waiting.pop(name, None) is not None
            turns = self._next() if waited else []
        self._wake(turns)

    def _next(self) -> list[str]:
        """Those whose turn it is: one for each free place, not only the first of all.

        Of two places that become free before anybody has come, each is another one's.
        """
        free = max(self._most - len(self._starting), 0)
        most = min(free, len(self._waiting))
        return heapq.nlargest(most, self._waiting, key=self._waiting.__getitem__)

    def _wake(self, names: Iterable[str]) -> None:
        for name in names:
            self._on_free(name)
