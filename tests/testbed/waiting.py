"""Waiting for something real to happen, with a limit and a reason."""

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")

POLL_SECONDS = 0.05


class NotSeen(AssertionError):
    """What a test waited for did not happen in time."""


def wait_until(predicate: Callable[[], Seen], timeout: float, what: str) -> Seen:
    """Call `predicate` until it returns something true, and return that.

    `timeout` is in seconds; `what` completes the sentence "waited for …" of the `NotSeen`
    that is raised when it passes.
    """
    deadline = time.monotonic() + timeout
    while not (seen := predicate()):
        if time.monotonic() > deadline:
            raise NotSeen(f"waited {timeout:g} s for {what}; last seen: {seen!r}")
        time.sleep(POLL_SECONDS)
    return seen
