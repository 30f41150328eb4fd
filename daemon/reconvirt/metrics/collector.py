"""Collecting the statistics of all virtual servers again and again, into one snapshot.

Scrapes read the snapshot from memory and nothing else, so that nothing that hangs can hold them.
What hangs costs freshness only, and the age of every number is known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from reconvirt.hypervisor.bounded_calls import BoundedCaller
from reconvirt.hypervisor.errors import (
    HypervisorDown,
    HypervisorError,
    NoAnswer,
    VirtualServerGone,
)
from reconvirt.hypervisor.stats import Connect, Reading, StatisticsConnection
from reconvirt.hypervisor.supervision import Beat
from reconvirt.metrics.facts import Facts, read_facts
from reconvirt.metrics.servers import Server, Snapshot

_ATTEMPTS = 2
_JOBS = {"migrating", "saving", "dumping", "creating snapshot", "post-copy"}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """The facts of one virtual server, and of which one they are."""

    facts: Facts
    looks: tuple[object, ...]
    read_at: float


class Collector:
    """Keeps the last snapshot.

    Args:
        connect: makes a connection for statistics.
        interval: seconds between two collections.
        timeout: seconds after which a call is taken for hung.
        refresh: seconds after which XML is read again although nothing has hinted at a change:
            libvirt sends no event for some.
        clock: seconds that never go back.
        on_collected: told the result (``success``, ``error`` or ``timeout``) and the seconds of
            each attempt.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        interval: float = 10.0,
        timeout: float = 5.0,
        refresh: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
        on_collected: Callable[[str, float], None] = lambda _result, _seconds: None,
    ) -> None:
        self.interval = interval
        self.timeout = timeout
        self._refresh = refresh
        self._clock = clock
        self._on_collected = on_collected
        self.beat = Beat()
        self._caller = BoundedCaller(connect)
        self._snapshot: Snapshot | None = None
        self._known: dict[str, _Known] = {}
        self._jobs: dict[str, Mapping[str, Any]] = {}
        self._hints: set[str] = set()
        self._complaint = ""

    @property
    def snapshot(self) -> Snapshot | None:
        """The last snapshot; None before the first."""
        return self._snapshot

    @property
    def age(self) -> float | None:
        """Seconds since the last collection that came back; None before the first."""
        snapshot = self._snapshot
        return None if snapshot is None else self._clock() - snapshot.taken_at

    @property
    def now(self) -> float:
        """The time by the clock of the snapshots."""
        return self._clock()

    @property
    def stuck(self) -> int:
        """How many calls have not come back."""
        return self._caller.stuck

    def heard(self, name: str) -> None:
        """Something has happened to a virtual server: its XML is to be read again."""
        self._hints.add(name)

    def run(self, stop: threading.Event, after: Callable[[], None] | None = None) -> None:
        """Collect until ``stop``; the body of a thread.

        Args:
            stop: ends it.
            after: called after each collection, whatever came of it.
        """
        while not stop.is_set():
            began = self._clock()
            self.collect()
            if after is not None:
                after()
            self.beat.wait(stop, max(self.interval - (self._clock() - began), 0.1))
        self._caller.close()

    def collect(self) -> bool:
        """Collect once; whether it came to something.

        A call that hangs in one virtual server has taken libvirt's job for it, so that a second
        one (``NOWAIT``) leaves that one out. It is made at once: the others stay fresh.
        """
        for _ in range(_ATTEMPTS):
            began = self._clock()
            try:
                readings = self._caller.run(StatisticsConnection.read_all, self.timeout)
            except NoAnswer as error:
                self._missed("timeout", began, str(error))
            except HypervisorError as error:
                self._missed("error", began, str(error))
                if not isinstance(error, HypervisorDown):
                    return False
            else:
                # Before anything else is asked, which could hang as well.
                self._publish(readings)
                self._on_collected("success", self._clock() - began)
                self._complain("")
                self._describe(readings)
                return True
        return False

    def _missed(self, result: str, began: float, why: str) -> None:
        self._on_collected(result, self._clock() - began)
        self._complain(f"{result}: {why}")

    def _complain(self, what: str) -> None:
        before, self._complaint = self._complaint, what
        if what and what != before:
            _log.warning("statistics not collected", error=what)
        elif before and not what:
            _log.info("statistics collected again")

    def _publish(self, readings: list[Reading]) -> None:
        now = self._clock()
        before = (
            {each.reading.uuid: each for each in self._snapshot.servers} if self._snapshot else {}
        )
        servers = tuple(self._merge(each, before.get(each.uuid), now) for each in readings)
        self._snapshot = Snapshot(now, servers)

    def _merge(self, reading: Reading, before: Server | None, now: float) -> Server:
        """A reading with what QEMU said before, where it could not be asked now."""
        asked_at: float | None = now
        if not reading.complete:
            asked_at = None
            if before is not None and before.reading.domain_id == reading.domain_id:
                asked_at = before.asked_at
                values = {**_carried(before.reading, reading), **reading.values}
                reading = replace(reading, values=values)
        known = self._known.get(reading.uuid)
        return Server(reading, asked_at, known.facts if known else None, self._job(reading))

    def _job(self, reading: Reading) -> Mapping[str, Any]:
        return self._jobs.get(reading.uuid, {})

    # What the statistics lack

    def _describe(self, readings: list[Reading]) -> None:
        here = {each.uuid for each in readings}
        for uuid in [uuid for uuid in self._known if uuid not in here]:
            del self._known[uuid]
        due = self._due(readings)
        jobs = [each for each in readings if each.reason in _JOBS or each.uuid in self._jobs]
        if not due and not jobs:
            return
        until = self._clock() + self.timeout / 2

        def work(connection: StatisticsConnection) -> None:
            for reading in due:
                self._hints.discard(reading.name)
                self._describe_one(connection, reading)
                if self._clock() > until:
                    break  # the rest comes next time
            for reading in jobs:
                self._ask_for_job(connection, reading)

        try:
            self._caller.run(work, self.timeout)
        except HypervisorError as error:
            _log.debug("not described", error=str(error))
        snapshot = self._snapshot
        if snapshot is not None:
            servers = tuple(self._with_known(each) for each in snapshot.servers)
            self._snapshot = replace(snapshot, servers=servers)

    def _with_known(self, server: Server) -> Server:
        known = self._known.get(server.reading.uuid)
        facts = known.facts if known else None
        return replace(server, facts=facts, job=self._job(server.reading))

    def _due(self, readings: Iterable[Reading]) -> list[Reading]:
        """Those whose XML is to be read: new or changed ones, then the ones read longest ago."""
        changed: list[Reading] = []
        aged: list[tuple[float, Reading]] = []
        now, count = self._clock(), 0
        for reading in readings:
            count += 1
            known = self._known.get(reading.uuid)
            if known is None or known.looks != _looks(reading) or reading.name in self._hints:
                changed.append(reading)
            elif now - known.read_at > self._refresh / 2:
                aged.append((known.read_at, reading))
        # A few each time, rather than all at once.
        share = max(1, round(count * self.interval / self._refresh * 2))
        aged.sort(key=lambda each: each[0])
        return [*changed, *(reading for _, reading in aged[:share])]

    def _describe_one(self, connection: StatisticsConnection, reading: Reading) -> None:
        try:
            facts = read_facts(connection.describe(reading.uuid))
        except VirtualServerGone:
            self._known.pop(reading.uuid, None)
            return
        self._known[reading.uuid] = _Known(facts, _looks(reading), self._clock())

    def _ask_for_job(self, connection: StatisticsConnection, reading: Reading) -> None:
        # Where QEMU could not be asked for statistics, the question for the job would wait, too.
        job = connection.job(reading.uuid) if reading.complete and reading.domain_id else {}
        if job:
            self._jobs[reading.uuid] = job
        else:
            self._jobs.pop(reading.uuid, None)


def _looks(reading: Reading) -> tuple[object, ...]:
    """What differs when the XML does, as far as the statistics show it."""
    values = reading.values
    names = [values.get(f"block.{each}.path") for each in range(values.get("block.count", 0))]
    names += [values.get(f"block.{each}.name") for each in range(values.get("block.count", 0))]
    names += [values.get(f"net.{each}.name") for each in range(values.get("net.count", 0))]
    limits = (values.get("vcpu.current"), values.get("vcpu.maximum"), values.get("balloon.maximum"))
    return (reading.name, reading.domain_id, *limits, *names)


def _carried(before: Reading, now: Reading) -> Mapping[str, Any]:
    """What QEMU said before and is still to be shown; of disks only where they are the same."""
    count = before.values.get("block.count", 0)
    same = all(
        before.values.get(f"block.{each}.name") == now.values.get(f"block.{each}.name")
        for each in range(max(count, now.values.get("block.count", 0)))
    )
    return before.values if same else {k: v for k, v in before.values.items() if k[:6] != "block."}
