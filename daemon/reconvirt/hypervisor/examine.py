"""Looking at files of which some may be on a file system whose server does not answer.

Whoever looks at such a file hangs, and cannot be stopped. So files are looked at in a thread of its
own, which is left behind where it hangs: one virtual server's storage must not hold up another one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

PATIENCE_SECONDS = 2.0
"""How long one file may take."""

_TICK = 0.1

Result = TypeVar("Result")

_lock = threading.Lock()
_hanging: dict[str, threading.Thread] = {}


def examine(
    paths: Iterable[str], look: Callable[[str], Result], patience: float = PATIENCE_SECONDS
) -> dict[str, Result]:
    """What a look at each path comes to; those that fail or do not answer in time are left out.

    Args:
        paths: the paths.
        look: looks at one; may raise OSError.
        patience: seconds that one may take.
    """
    with _lock:
        for path in [each for each, thread in _hanging.items() if not thread.is_alive()]:
            del _hanging[path]
        left = [each for each in dict.fromkeys(paths) if each not in _hanging]
    found: dict[str, Result] = {}
    while left:
        batch = _Batch(left, look)
        done, hangs = batch.run(patience)
        found |= done
        if hangs is None:
            break
        with _lock:
            _hanging[hangs] = batch.thread
        left = left[left.index(hangs) + 1 :]
    return found


class _Batch(Generic[Result]):
    """Some paths that one thread looks at, one after the other."""

    def __init__(self, paths: list[str], look: Callable[[str], Result]) -> None:
        self._paths = paths
        self._look = look
        self._found: dict[str, Result] = {}
        self._now: tuple[str, float] = (paths[0], time.monotonic())
        self._lock = threading.Lock()
        self._left = threading.Event()
        self.thread = threading.Thread(target=self._work, name="examine", daemon=True)

    def run(self, patience: float) -> tuple[dict[str, Result], str | None]:
        """What was found, and the path at which it hangs; None if it has come to the end."""
        self.thread.start()
        while self.thread.is_alive():
            self.thread.join(_TICK)
            with self._lock:
                path, since = self._now
                if self.thread.is_alive() and time.monotonic() - since > patience:
                    self._left.set()
                    return self._found, path
        return self._found, None

    def _work(self) -> None:
        for path in self._paths:
            with self._lock:
                if self._left.is_set():
                    return
                self._now = (path, time.monotonic())
            try:
                result = self._look(path)
            except OSError:
                continue
            with self._lock:
                if self._left.is_set():
                    return
                self._found[path] = result
