"""Calls that may hang, made aside: in a thread that is left behind when it does not come back.

libvirt cannot be told to give up a call. A QEMU that hangs holds the caller for ever, and a
libvirtd that hangs holds all. So each call is made in a thread with a connection of its own; if
it takes too long, both are left to themselves, and the next call gets new ones. A thread that
comes back after all ends itself.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from reconvirt.hypervisor.stats import Connect, StatisticsConnection

Result = TypeVar("Result")


class Stuck(Exception):
    """The call has not come back in time, or too many others have not."""


@dataclass(slots=True)
class _Task:
    work: Callable[[StatisticsConnection], Any]
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: BaseException | None = None


class Aside:
    """Makes calls that may hang.

    Args:
        connect: makes a connection; it may hang as well.
        most_stuck: how many threads may be left behind; each holds one of libvirt's own, so that
            more of them would hold up others.
    """

    def __init__(self, connect: Connect, most_stuck: int = 8) -> None:
        self._connect = connect
        self._most_stuck = most_stuck
        self._worker: _Worker | None = None
        self._left: list[_Worker] = []

    @property
    def stuck(self) -> int:
        """How many calls have been left behind and have not come back."""
        self._left = [each for each in self._left if each.is_alive()]
        return len(self._left)

    def run(self, work: Callable[[StatisticsConnection], Result], timeout: float) -> Result:
        """Do something with a connection.

        Args:
            work: what to do.
            timeout: seconds to wait for it.

        Raises:
            Stuck: it took longer.
            HypervisorError: it failed; the next call makes a new connection.
        """
        worker = self._worker
        if worker is None or not worker.is_alive():
            if self.stuck >= self._most_stuck:
                raise Stuck(f"{self._most_stuck} earlier calls have not come back")
            worker = self._worker = _Worker(self._connect)
            worker.start()
        task = _Task(work)
        worker.tasks.put(task)
        if not task.done.wait(timeout):
            self._leave(worker)
            raise Stuck(f"no answer in {timeout:g} s")
        if task.error is not None:
            self._leave(worker)
            raise task.error
        result: Result = task.result
        return result

    def close(self) -> None:
        """Let the thread end when it can."""
        if self._worker is not None:
            self._leave(self._worker)

    def _leave(self, worker: _Worker) -> None:
        worker.tasks.put(None)
        self._left.append(worker)
        self._worker = None


class _Worker(threading.Thread):
    """A thread with a connection of its own."""

    def __init__(self, connect: Connect) -> None:
        # A thread that hangs must not keep the process from ending.
        super().__init__(name="statistics", daemon=True)
        self.tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._open = connect

    def run(self) -> None:
        connection: StatisticsConnection | None = None
        while (task := self.tasks.get()) is not None:
            try:
                connection = connection or self._open()
                task.result = task.work(connection)
            except Exception as error:  # noqa: BLE001 - raised again where the answer is awaited
                task.error = error
            task.done.set()
        if connection is not None:
            connection.close()
