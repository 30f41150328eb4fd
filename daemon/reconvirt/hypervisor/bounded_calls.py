"""Calls that may hang, made with a time limit.

libvirt cannot be made to give up a call. A QEMU that hangs holds the caller for as long as it
hangs, and so does a libvirtd. So each such call is made in a thread of its own; if it takes too
long, the thread is left behind, and the caller goes on without an answer. A thread that comes back
after all clears up what it has got: it closes the connection that nobody waits for any more.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

from reconvirt.hypervisor.errors import NoAnswer
from reconvirt.hypervisor.supervision import THREADS

CALL_SECONDS = 30.0
"""How long a call to another host may take, except where it has a rule of its own."""

Result = TypeVar("Result")


class Closable(Protocol):
    """What is closed when it is not needed any more."""

    def close(self) -> None:
        """End it."""


Connection = TypeVar("Connection", bound=Closable)


_current = threading.local()


def check_awaited() -> None:
    """See that somebody waits for what the calling thread does.

    A thread that was left behind and comes back must make no further call: by then the caller has
    taken another way.

    Raises:
        NoAnswer: it was left behind.
    """
    task: _Task | None = getattr(_current, "task", None)
    if task is not None and task.left:
        raise NoAnswer("it came back too late, and does nothing more")


class BoundedCalls:
    """Makes calls with a time limit.

    Args:
        most_stuck: how many calls of one key may be left behind; each keeps one of libvirt's own
            threads, so that more of them would hold up others.
    """

    def __init__(self, most_stuck: int = 8) -> None:
        self._most_stuck = most_stuck
        self._lock = threading.Lock()
        self._left: Counter[str] = Counter()

    @property
    def stuck(self) -> int:
        """How many calls were left behind and have not come back."""
        with self._lock:
            return self._left.total()

    def run(
        self,
        work: Callable[[], Result],
        timeout: float,
        *,
        late: Callable[[Result], object] = lambda _result: None,
        key: str = "",
        what: str = "",
    ) -> Result:
        """Make a call.

        Args:
            work: makes it.
            timeout: seconds to wait for it.
            late: gets what came of it after nobody waited for it any more.
            key: which calls are counted together.
            what: the subject of the error message.

        Raises:
            NoAnswer: it took longer, or too many others have not come back.
        """
        subject = f"{what}: " if what else ""
        with self._lock:
            if self._left[key] >= self._most_stuck:
                most = self._most_stuck
                earlier = "1 earlier call has" if most == 1 else f"{most} earlier calls have"
                raise NoAnswer(f"{subject}{earlier} not come back")
        task = _Task(work, late, lambda: self._came_back(key))
        # A thread that hangs must not keep the process from ending.
        threading.Thread(target=task.run, name=f"call {what or key}".strip(), daemon=True).start()
        if not task.wait(timeout, lambda: self._leave(key)):
            raise NoAnswer(f"{subject}no answer in {timeout:g} s")
        if task.error is not None:
            raise task.error
        result: Result = task.result
        return result

    def _leave(self, key: str) -> None:
        with self._lock:
            self._left[key] += 1

    def _came_back(self, key: str) -> None:
        with self._lock:
            self._left[key] -= 1
            if not self._left[key]:
                del self._left[key]


class _Task:
    """One call: whether it has come back in time is decided under a lock, once."""

    def __init__(
        self,
        work: Callable[[], Any],
        late: Callable[[Any], object],
        came_back: Callable[[], None],
    ) -> None:
        self._work = work
        self._late = late
        self._came_back = came_back
        self._lock = threading.Lock()
        self._done = threading.Event()
        self.left = False
        self.result: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Make the call; the body of a thread."""
        _current.task = self
        try:
            self.result = self._work()
        except Exception as error:  # noqa: BLE001 - raised again where the answer is awaited
            self.error = error
        with self._lock:
            self._done.set()
            left = self.left
        if left:
            with THREADS.guarded("call"):
                if self.error is None:
                    self._late(self.result)
            self._came_back()

    def wait(self, seconds: float, leave: Callable[[], None]) -> bool:
        """Wait for it; False if it was left behind."""
        if self._done.wait(seconds):
            return True
        with self._lock:
            if self._done.is_set():
                return True
            self.left = True
            leave()
        return False


class BoundedCaller(Generic[Connection]):
    """Makes calls with a time limit over connections of its own, which it keeps and renews.

    May be used by several threads; each call has a connection for itself.

    Args:
        connect: makes a connection; it may hang as well.
        most_stuck: how many calls may be left behind.
    """

    def __init__(self, connect: Callable[[], Connection], most_stuck: int = 8) -> None:
        self._connect = connect
        self._calls = BoundedCalls(most_stuck)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False

    @property
    def stuck(self) -> int:
        """How many calls were left behind and have not come back."""
        return self._calls.stuck

    def run(self, work: Callable[[Connection], Result], timeout: float) -> Result:
        """Do something with a connection.

        Args:
            work: what to do.
            timeout: seconds to wait for it.

        Raises:
            NoAnswer: it took longer, or too many others have not come back.
            HypervisorError: it failed; the next call makes a new connection.
        """

        def call() -> tuple[Connection, Result]:
            connection = self._take() or self._connect()
            try:
                return connection, work(connection)
            except BaseException:
                connection.close()
                raise

        connection, result = self._calls.run(call, timeout, late=lambda pair: pair[0].close())
        self._give_back(connection)
        return result

    def close(self) -> None:
        """Close the connections; those of calls that have not come back are closed then."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for each in idle:
            each.close()

    def _take(self) -> Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()


class Limited(Protocol):
    """What has a time limit for its calls."""

    bound: float | None
    """Seconds that a call may take; None for no limit."""

    def within(self, seconds: float, work: Callable[[], Result]) -> Result:
        """Make a call with a time limit."""


Arguments = ParamSpec("Arguments")
Self_ = TypeVar("Self_", bound=Limited)


def bounded(
    seconds: float | None = None,
) -> Callable[
    [Callable[Concatenate[Self_, Arguments], Result]],
    Callable[Concatenate[Self_, Arguments], Result],
]:
    """Make a method of a connection with a time limit come back in time.

    Args:
        seconds: the limit for this method; that of the connection if None.
    """

    def decorate(
        method: Callable[Concatenate[Self_, Arguments], Result],
    ) -> Callable[Concatenate[Self_, Arguments], Result]:
        @functools.wraps(method)
        def call(self: Self_, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            if self.bound is None:
                return method(self, *args, **kwargs)
            return self.within(seconds or self.bound, lambda: method(self, *args, **kwargs))

        return cast("Callable[Concatenate[Self_, Arguments], Result]", call)

    return decorate
