"""The daemon: source, connection and engine tied together, and the signals that steer them."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import FrameType

import structlog

from reconvirt.controller.config import Config
from reconvirt.controller.config.settings import settings_of
from reconvirt.controller.desk import Desk
from reconvirt.controller.engine import Engine
from reconvirt.controller.fleet import FleetView
from reconvirt.controller.glance import Glances
from reconvirt.controller.history import History
from reconvirt.controller.holds import Hold, HoldStore
from reconvirt.controller.hosts.house import House
from reconvirt.controller.image_record import ImageRecord
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.process_lock import LockFailed, SoleWriter
from reconvirt.controller.prune import Standing, Verdict
from reconvirt.controller.pruner import Pruner
from reconvirt.controller.service import Service, State
from reconvirt.controller.source.choice import make_source, name_source
from reconvirt.controller.state_store import StateStore
from reconvirt.controller.status import StatusBook
from reconvirt.controller.surroundings import find_hold, surroundings_of
from reconvirt.domain.desired import Desired, desire
from reconvirt.domain.show import figures_of
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorDown, HypervisorError
from reconvirt.hypervisor.link import Link
from reconvirt.hypervisor.supervision import THREADS
from reconvirt.manifest.identity import derive_uuid
from reconvirt.manifest.model import Manifest, Snapshot
from reconvirt.manifest.problem import Problem
from reconvirt.metrics.service import MetricsService

_JOIN_SECONDS = 10.0

_log = structlog.get_logger(__name__)


class Daemon:
    """Keeps the virtual servers of one host as the manifests of one directory say.

    Args:
        config: how it runs.
        reload_config: reads the configuration again, on SIGHUP.
    """

    def __init__(self, config: Config, reload_config: Callable[[], Config]) -> None:
        self._config = config
        self._reload_config = reload_config
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._reload = False
        self._manifests: dict[str, tuple[Manifest, Desired]] = {}
        self._problems: tuple[Problem, ...] = ()
        self._revision: str | None = None
        self._history = History()
        self._book = StatusBook()
        self._store = StateStore(config.state_directory)
        self._images = ImageRecord(self._store)
        self._holds = HoldStore(self._store)
        self._source = make_source(config, self._store, keep=True)
        self._link = Link(config.connect, self._connected, self._heard, self._admit)
        self._writer = SoleWriter(config)
        self._fatal: LockFailed | None = None
        self._house = House(
            config,
            self._store,
            self._hint,
            self._book.move,
            self._history,
            lambda: self._engine.wanted,
            self._look_at_all,
        )
        moves = self._house.migrations
        self._fleet = FleetView(
            lambda: self._link.up,
            lambda: self._book.fleet().servers,
            lambda: len(self._pruner.verdict.held),
            lambda: (moves.seen(), moves.ended()),
            lambda: len(self._book.fleet().state_problems),
        )
        self._metrics = MetricsService(
            config.metrics.settings, config.connect, self._fleet.status, workers=config.workers
        )
        self._fleet.observer = self._metrics.observer
        around = surroundings_of(
            config,
            self._holds,
            self._history,
            self._house.placement,
            lambda: self._engine.wanted,
            lambda: self._pruner.decision,
        )
        moves.guard = around.guard
        self._engine = Engine(
            self._link.current,
            workers=config.workers,
            resync=config.resync_seconds,
            most_starts=config.most_starts,
            on_down=self._down,
            on_outcome=self._publish,
            surroundings=replace(
                around, on_step=self._book.step, images=self._images, afar=self._house.afar
            ),
            observer=self._metrics.observer,
        )
        self._pruner = Pruner(
            self._link.current,
            config.origin,
            self._history,
            self._prune,
            grace=config.prune_grace_seconds,
            store=self._store,
            includes=self._source.includes,
        )
        self._glances = Glances(
            *(self._link.current, config.glance_seconds, self._engine.hint),
            also=self._engine.missing.look,
        )
        self.desk = Desk(
            engine=self._engine,
            book=self._book,
            history=self._history,
            holds=self._holds,
            pruner=self._pruner,
            hypervisor=self._link.current,
            manifests=lambda: {name: each[0] for name, each in self._manifests.items()},
            poke_source=self._source.poke,
            abort_migration=self._house.abort_migration,
        )
        self._service = Service(
            self._state,
            lambda: {**THREADS.ages(), "workers busy": self._engine.pulse.age()},
            config.stuck_seconds,
        )

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; the step in hand is finished first.

        Raises:
            LockFailed: another process is the writer of this libvirt; nothing was written.
        """
        with self._signals():
            _log.info("started", desired=name_source(self._config), connect=self._config.connect)
            self._engine.start()
            self._metrics.start()
            self._house.start()
            threads = self._start_threads()
            try:
                self._steer()
            finally:
                _log.info("stopping")
                with self._service.stopping():
                    self._stop.set()
                    self._source.poke()
                    self._pruner.poke()
                    self._house.stop()
                    self._engine.stop()
                    self._images.flush()
                    self._link.stop()
                    self._metrics.stop()
                    for thread in threads:
                        thread.join(_JOIN_SECONDS)
                _log.info("stopped")
        if self._fatal is not None:
            raise self._fatal

    def _start_threads(self) -> list[threading.Thread]:
        glances, pruner = self._glances, self._pruner
        return [
            THREADS.start("libvirt-link", self._link.run, self._stop, beat=self._link.beat),
            THREADS.start("source", self._follow_source, self._stop, beat=self._source.beat),
            THREADS.start(
                "glances", lambda: glances.run(self._stop), self._stop, beat=glances.beat
            ),
            THREADS.start(
                "pruner",
                lambda: pruner.run(self._stop, self._resync),
                self._stop,
                beat=pruner.beat,
            ),
        ]

    def _steer(self) -> None:
        while not self._stop.is_set():
            # With a timeout: Python runs its signal handlers only between calls of this thread.
            self._wake.wait(timeout=1.0)
            self._wake.clear()
            with THREADS.guarded("main"):
                if self._reload:
                    self._reload = False
                    with self._service.reloading():
                        self._reload_all()
                self._report_state()
                self._service.tick()
                try:
                    self._writer.renew()
                except LockFailed as error:
                    self._end(error)

    def _report_state(self) -> None:
        """Say which files of the state directory cannot be read, and when they can again."""
        problems, before = self._store.problems(), self._book.fleet().state_problems
        if problems == before:
            return
        self._book.describe(state_problems=problems)
        for problem in problems:
            if problem not in before:
                self._history.tell("", "StateUnreadable", problem, level="error")
        if not problems:
            self._history.tell("", "StateReadable", "all files of the state can be read again")
        # What was refused for it need not be any more.
        self._engine.look_at_all()

    def _state(self) -> State:
        return State(
            self._link.up,
            self._revision,
            len(self._problems),
            frozenset(self._engine.wanted),
            self._engine.outcomes,
        )

    def _reload_all(self) -> None:
        try:
            config = self._reload_config()
        except ValueError as error:
            _log.error("configuration not reloaded", error=str(error))
        else:
            self._engine.resync = config.resync_seconds
            self._engine.admit(config.rules)
            self._pruner.grace = config.prune_grace_seconds
            self._pruner.poke()
            fixed = [n for n, each in settings_of(Config).items() if not each.meaning.live]
            changed = [n for n in fixed if getattr(config, n) != getattr(self._config, n)]
            if changed:
                _log.warning("takes effect after a restart of the daemon", settings=changed)
            _log.info("configuration reloaded")
        self._source.poke()
        self._engine.look_at_all()

    def _follow_source(self) -> None:
        for snapshot in self._source.watch(self._stop):
            self._accept(snapshot)

    def _resync(self) -> float:
        return self._engine.resync or self._config.resync_seconds

    def _accept(self, snapshot: Snapshot) -> None:
        self._history.revision = snapshot.revision
        self._book.describe(revision=snapshot.revision, problems=snapshot.problems)
        for problem in snapshot.problems:
            if problem not in self._problems:
                self._history.tell("", "ManifestRefused", str(problem), level="error")
        self._problems = snapshot.problems
        origin = replace(self._config.origin, revision=snapshot.revision, time=snapshot.time)
        manifests: dict[str, tuple[Manifest, Desired]] = {}
        for name, manifest in snapshot.manifests.items():
            known = self._manifests.get(name)
            if known is not None and known[0].digest == manifest.digest:
                # The revision stays the one from which this content was first applied.
                manifests[name] = (manifest, replace(known[1], positions=manifest.positions))
            else:
                manifests[name] = (manifest, desire(manifest, self._config.policy.policy, origin))
        self._fleet.accepted(snapshot)
        self._manifests = manifests
        _log.info(
            "manifests read",
            revision=snapshot.revision[:12],
            virtual_servers=len(manifests),
            problems=len(snapshot.problems),
            held_at_last_good=sorted(snapshot.retained),
        )
        wanted = {name: desired for name, (_, desired) in manifests.items()}
        # Before any of these manifests can be gone.
        self._holds.note_annotations({n: (d.expected_uuid, d.hold) for n, d in wanted.items()})
        moved = self._house.take(snapshot.hosts)
        # First, so that a manifest that is back cancels what is still to be done about its loss.
        self._pruner.want(snapshot, wanted)
        self._book.expect({name: str(each.position) for name, (each, _) in manifests.items()})
        self._engine.want(wanted)
        self._revision = snapshot.revision
        if moved:
            self._engine.look_at_all()
        self._pruner.poke()

    def _bind_holds(self) -> None:
        """Have holds follow their virtual servers when these are renamed in libvirt."""
        if self._holds.empty:
            return
        with contextlib.suppress(HypervisorError):
            self._holds.observed(self._link.current().names_by_uuid())

    def _look_at_all(self) -> None:
        self._engine.look_at_all()

    def _hint(self, name: str) -> None:
        self._engine.hint(name)

    def _admit(self, hypervisor: Hypervisor) -> None:
        """Be the only writer of the libvirt that was connected to, or end.

        Raises:
            HypervisorDown: another process is.
        """
        try:
            self._writer.admit(hypervisor.instance())
        except LockFailed as error:
            self._end(error)
            raise HypervisorDown(str(error)) from error

    def _end(self, error: LockFailed) -> None:
        self._fatal = error
        self._stop.set()
        self._wake.set()

    def _connected(self) -> None:
        # Events were missed while there was no connection.
        self._book.describe(connected=True)
        self._bind_holds()
        self._engine.look_at_all()
        self._pruner.poke()

    def _down(self) -> None:
        self._link.suspect()

    def _heard(self, name: str, kind: str, device: str) -> None:
        # On libvirt's event thread: only a name is put in the queue.
        _log.debug("event", virtual_server=name, kind=kind, device=device or None)
        self._metrics.heard(name, kind, managed=name in self._engine.wanted)
        self._engine.heard(name, kind, device)
        if name not in self._engine.wanted:
            self._pruner.poke()

    def _prune(self, standings: Mapping[str, Standing], verdict: Verdict) -> None:
        self._bind_holds()
        self._book.describe(prune_held=verdict.reason)
        self._engine.prune(standings, verdict.pruned)
        for name in self._book.fleet().servers.keys() - standings.keys() - self._manifests.keys():
            self._book.remove(name)

    def _publish(self, outcome: Outcome) -> None:
        hold, known = self._find_hold(outcome), self._manifests.get(outcome.name)
        if known is None and hold is not None:
            outcome = replace(outcome, hold=str(hold))
        self._fleet.settled(outcome)
        if known is None and outcome.name not in self._engine.unwanted:
            self._pruner.poke()  # whether it is an orphan, and how it is, is found there
            return
        if known is None and outcome.observed is None and outcome.phase is Phase.UNMANAGED:
            self._book.remove(outcome.name)
            self._pruner.poke()
            return
        manifest = known[0] if known else None
        delay = self._engine.delay_of(outcome.name)
        self._book.update(
            outcome,
            figures=figures_of(outcome.observed),
            hold=hold,
            manifest=str(manifest.position) if manifest else "",
            labels=manifest.labels if manifest else {},
            next_look=None if delay is None else time.time() + delay,
        )

    def _find_hold(self, outcome: Outcome) -> Hold | None:
        name, observed = outcome.name, outcome.observed
        if (known := self._manifests.get(name)) is not None:
            return find_hold(self._holds, known[1], observed)
        return self._holds.find(observed.uuid if observed else derive_uuid(name), name)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def on_signal(number: int, _frame: FrameType | None) -> None:
            if number == signal.SIGHUP:
                self._reload = True
            else:
                self._stop.set()
            self._wake.set()

        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
