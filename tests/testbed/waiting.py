"""Waiting for something real to happen, with a limit and a reason."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")

POLL_SECONDS = 0.05
MOST_PATIENCE = 6.0


class NotSeen(AssertionError):
    """What a test waited for did not happen in time."""


def patience() -> float:
    """How many times as long as on an idle machine things may take here now.

    Limits are written for a machine with nothing else to do. On a busy one each process gets its
    part of the processors, and one that is nice to others less.
    """
    cores = len(os.sched_getaffinity(0))
    niceness = max(os.getpriority(os.PRIO_PROCESS, 0), 0)
    return min(max(1.0, os.getloadavg()[0] / cores) * (1 + niceness / 10), MOST_PATIENCE)


def limit(seconds: float) -> float:
    """What a limit of so many seconds is here now."""
    return seconds * patience()


def wait_until(predicate: Callable[[], Seen], timeout: float, what: str) -> Seen:
    """Call `predicate` until it returns something true, and return that.

    `timeout` is in seconds on an idle machine; `what` completes the sentence "waited for …" of
    the `NotSeen` that is raised when it passes.
    """
    began = time.monotonic()
    while not (seen := predicate()):
        waited = time.monotonic() - began
        if waited > limit(timeout):
            raise NotSeen(f"waited {waited:.1f} s for {what}; last seen: {seen!r}")
        time.sleep(POLL_SECONDS)
    return seen
