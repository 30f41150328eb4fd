"""What has happened lately: one event a transition, in the journal and among the latest events.

An event that is equal to an earlier one is the same event once more, as in Kubernetes: it has a
count, the first time and the last. What fails again and again is one line and not a thousand.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import structlog

_log = structlog.get_logger(__name__)
_MOST = 2000

SAME_SECONDS = 3600.0
"""An event is a new one when an equal one has not happened for so long."""

_REQUEST = "StepAsked"
"""A guest was asked for something, perhaps every few seconds for hours."""

_ANNOUNCED = ("PrunePending", "PruneHeld", "PruneApproved")
"""What is going to be done, or is not, is no failure that repeats itself."""

# What differs from one attempt to the next in the words of libvirt and QEMU, which begin with the
# time, and name sockets by the number of the domain, which is another one at each start.
_VARYING = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+Z?"
    r"|\bdomain-\d+-"
    r"|\b(?:pid|process|fd|id) ?[=:]? ?\d+\b"
    r"|\b\d+(?:\.\d+)? ?(?:s|ms|min|seconds|minutes)\b"
)


@dataclass(frozen=True, slots=True)
class Event:
    """One transition, or the same one several times.

    Attributes:
        number: counts up from 1; a later event has a higher number. One that happens again gets
            a new number.
        time: when it happened last, in seconds since the epoch.
        virtual_server: its name; "" for what concerns none alone.
        reason: what has happened, as a word.
        message: what has happened, as a sentence.
        level: ``info``, ``warning`` or ``error``.
        step: the step that was taken; "" if none.
        field: the field that it is about; "" if none.
        old: the value before, as a person reads it.
        new: the value afterwards.
        revision: of the manifests in force when it happened last.
        count: how often it has happened.
        first_time: when it happened first, in seconds since the epoch.
    """

    number: int
    time: float
    virtual_server: str
    reason: str
    message: str
    level: str = "info"
    step: str = ""
    field: str = ""
    old: str = ""
    new: str = ""
    revision: str = ""
    count: int = 1
    first_time: float = 0.0

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for events that are the same one."""
        message = _VARYING.sub("", self.message)
        what = (self.virtual_server, self.reason, message, self.level)
        return (*what, self.step, self.field, self.old, self.new)


class History:
    """The latest events.

    Args:
        clock: seconds since the epoch.
        most: how many are kept.
    """

    def __init__(self, clock: Callable[[], float] = time.time, most: int = _MOST) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._most = most
        # By number, the oldest first.
        self._events: dict[int, Event] = {}
        self._numbers: dict[tuple[str, ...], int] = {}
        self._last = 0
        self.revision = ""

    def tell(
        self,
        virtual_server: str,
        reason: str,
        message: str,
        *,
        level: str = "info",
        step: str = "",
        field: str = "",
        old: object = "",
        new: object = "",
    ) -> None:
        """Add an event, or count one that happens again, and write it to the log.

        A failure or a request that happens again is logged when its count is a power of two, and
        for debugging otherwise. What was done or is announced, and what is in sync again, is logged
        each time.
        """
        with self._changed:
            self._last += 1
            now = self._clock()
            event = self._count(
                Event(
                    *(self._last, now, virtual_server, reason, message, level, step, field),
                    *(_word(old), _word(new), self.revision),
                    first_time=now,
                )
            )
            self._changed.notify_all()
        _write(event)

    def _count(self, event: Event) -> Event:
        """Put an event at the end, with the count of an equal one, which it replaces."""
        known = self._events.get(self._numbers.get(event.key, 0))
        if known is not None and event.time - known.time < SAME_SECONDS:
            del self._events[known.number]
            event = replace(event, count=known.count + 1, first_time=known.first_time)
        self._events[event.number] = event
        self._numbers[event.key] = event.number
        if len(self._events) > self._most:
            oldest = self._events.pop(next(iter(self._events)))
            if self._numbers.get(oldest.key) == oldest.number:
                del self._numbers[oldest.key]
        return event

    def since(self, number: int = 0, virtual_server: str | None = None) -> list[Event]:
        """The kept events after one of this number, the oldest first."""
        with self._changed:
            return [
                each
                for each in self._events.values()
                if each.number > number and virtual_server in (None, each.virtual_server)
            ]

    def follow(
        self, number: int, stop: Callable[[], bool], seconds: float
    ) -> Iterator[list[Event]]:
        """The events after one of this number as they come; none where none came in time."""
        while not stop():
            with self._changed:
                if self._last <= number:
                    self._changed.wait(seconds)
            events = self.since(number)
            number = events[-1].number if events else number
            yield events


def _write(event: Event) -> None:
    """Write an event to the log with its fields."""
    fields = {name: getattr(event, name) for name in ("step", "field", "old", "new")}
    told: dict[str, object] = {name: value for name, value in fields.items() if value}
    if event.virtual_server:
        told["virtual_server"] = event.virtual_server
    if event.revision:
        told["revision"] = event.revision
    if event.count > 1:
        told["count"] = event.count
    often = event.count & (event.count - 1) != 0
    failed = event.level != "info" and event.reason not in _ANNOUNCED
    level = "debug" if often and (failed or event.reason == _REQUEST) else event.level
    # The event of a log line is the same for all of its kind; its words are in the message.
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", event.reason).lower()
    getattr(_log, level)(words, reason=event.reason, message=event.message, **told)


def _word(value: object) -> str:
    return "" if value is None else str(value)
