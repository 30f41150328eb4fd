"""A bound on writing calls: what changes nothing for good is stopped, whatever its cause."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_WRITES = 60
WINDOW_SECONDS = 600.0


@dataclass(slots=True)
class _Account:
    generation: object
    calls: deque[tuple[float, str]] = field(default_factory=deque)
    planned: int = 0


class WriteBudget:
    """Counts the writing calls of each virtual server since its manifest changed.

    Args:
        most: how many are allowed within the window, besides those of the longest plan: a manifest
            with a hundred devices needs a hundred calls.
        window: its length in seconds.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        most: int = MOST_WRITES,
        window: float = WINDOW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._window = window
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: dict[str, _Account] = {}

    def spend(self, uuid: str, generation: object, verb: str, planned: int) -> str:
        """Count one call; why it must not be made, or "" if it may.

        Args:
            uuid: of the virtual server.
            generation: what is desired of it; another one begins a new account.
            verb: what the call does.
            planned: how many steps its plan has now.
        """
        now = self._clock()
        with self._lock:
            account = self._accounts.get(uuid)
            if account is None or account.generation != generation:
                account = self._accounts[uuid] = _Account(generation)
            calls = account.calls
            while calls and calls[0][0] <= now - self._window:
                calls.popleft()
            account.planned = max(account.planned, planned)
            if len(calls) < self._most + account.planned:
                calls.append((now, verb))
                return ""
            counts = Counter(each for _, each in calls).most_common(3)
            made = ", ".join(f"{name} {count} times" for name, count in counts)
            return (
                f"{len(calls)} writing calls within {self._window / 60:.0f} min without a change "
                f"of its manifest ({made}): something else may change it back, or libvirt does not "
                "keep it"
            )

    def reset(self, uuid: str) -> None:
        """Begin a new account: a person has asked for another try."""
        with self._lock:
            self._accounts.pop(uuid, None)
