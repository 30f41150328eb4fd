"""The calls that this process has made to libvirt and that have not come back yet.

libvirtd works on so many calls at a time (20, ``max_workers``), whoever makes them. A QEMU that
hangs keeps one of them for as long as it hangs; so there is a bound on how many calls of ours may
be on their way to one libvirtd, and others still get their turn there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from reconvirt.hypervisor.errors import Busy

STUCK_SECONDS = 5.0
"""A call that takes longer than this counts as stuck."""

MOST_CALLS = 16
"""How many calls may be on their way to one libvirtd, which works on 20 at a time."""

_WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Call:
    """A call that has not come back yet.

    Attributes:
        uri: of the libvirt that it was made to.
        what: the name of the call.
        subject: the virtual server that it is about; "" if it is about none.
        thread: the thread that made it.
        since: when it was made, on the clock of the calls.
    """

    uri: str
    what: str
    subject: str
    thread: int
    since: float


class InFlight:
    """Knows the calls that have not come back yet.

    Args:
        most: how many there may be to one libvirt at a time.
        patience: seconds for which one more waits before it is refused.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        most: int = MOST_CALLS,
        patience: float = _WAIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._patience = patience
        self._clock = clock
        self._changed = threading.Condition()
        self._calls: dict[int, Call] = {}
        self._next = 0

    @contextmanager
    def call(
        self, uri: str, what: str, subject: str = "", *, bounded: bool = True
    ) -> Iterator[None]:
        """A call is made inside the block.

        Args:
            uri: of the libvirt that it is made to.
            what: the name of the call.
            subject: the virtual server that it is about.
            bounded: whether it waits when there are as many calls as there may be.

        Raises:
            Busy: too many calls have not come back.
        """
        me = threading.get_ident()
        with self._changed:
            if bounded and not self._changed.wait_for(
                lambda: self._has_room(uri, me), self._patience
            ):
                raise Busy(
                    f"{self._most} calls to libvirt at {uri} have not come back; no more are made"
                )
            self._next += 1
            number = self._next
            self._calls[number] = Call(uri, what, subject, me, self._clock())
        try:
            yield
        finally:
            with self._changed:
                del self._calls[number]
                self._changed.notify_all()

    def _has_room(self, uri: str, thread: int) -> bool:
        here = [each for each in self._calls.values() if each.uri == uri]
        # A call inside another one of the same thread keeps no more of libvirtd's threads.
        return len(here) < self._most or any(each.thread == thread for each in here)

    def older_than(self, seconds: float = STUCK_SECONDS) -> tuple[Call, ...]:
        """The calls that were made so long ago, the oldest first."""
        now = self._clock()
        with self._changed:
            return tuple(each for each in self._calls.values() if now - each.since > seconds)

    def age(self, call: Call) -> float:
        """Seconds since a call was made."""
        return self._clock() - call.since

    def wait_until_none(self, seconds: float) -> bool:
        """Wait until all calls have come back; False if they have not within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._calls, seconds)


IN_FLIGHT = InFlight()
"""Those of this process."""
