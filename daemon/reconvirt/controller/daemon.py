"""The daemon: source, connection and engine tied together, and the signals that steer them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from types import FrameType

import structlog

from reconvirt.controller.config import Config
from reconvirt.controller.engine import Engine
from reconvirt.controller.fleet import FleetView
from reconvirt.controller.glance import Glances
from reconvirt.controller.source import DirectorySource
from reconvirt.domain.desired import Desired, desire
from reconvirt.hypervisor.link import Link
from reconvirt.manifest.model import Manifest, Problem, Snapshot
from reconvirt.metrics.service import MetricsService

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
        self._source = DirectorySource(
            config.desired, debounce=config.debounce_seconds, rescan=config.rescan_seconds
        )
        self._link = Link(config.connect, self._connected, self._heard)
        self._fleet = FleetView(lambda: self._link.connected)
        self._metrics = MetricsService(
            config.metrics, config.connect, self._fleet.status, workers=config.workers
        )
        self._fleet.observer = self._metrics.observer
        self._engine = Engine(
            self._link.current,
            workers=config.workers,
            resync=config.resync_seconds,
            on_down=self._link.suspect,
            rules=config.rules,
            on_outcome=self._fleet.settled,
            observer=self._metrics.observer,
        )
        self._glances = Glances(self._link.current, config.glance_seconds, self._engine.hint)
        self._manifests: dict[str, tuple[Manifest, Desired]] = {}
        self._problems: tuple[Problem, ...] = ()

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; the step in hand is finished first."""
        threads = [
            threading.Thread(target=self._link.run, name="libvirt-link"),
            threading.Thread(target=self._follow_source, name="source"),
            threading.Thread(target=self._glances.run, args=(self._stop,), name="glances"),
        ]
        with self._signals():
            _log.info("started", desired=str(self._config.desired), connect=self._config.connect)
            self._engine.start()
            self._metrics.start()
            for thread in threads:
                thread.start()
            try:
                self._steer()
            finally:
                _log.info("stopping")
                self._stop.set()
                self._source.poke()
                self._engine.stop()
                self._link.stop()
                self._metrics.stop()
                for thread in threads:
                    thread.join()
                _log.info("stopped")

    def _steer(self) -> None:
        while not self._stop.is_set():
            # With a timeout: Python runs its signal handlers only between calls of this thread.
            self._wake.wait(timeout=1.0)
            self._wake.clear()
            if self._reload:
                self._reload = False
                self._reload_all()

    def _reload_all(self) -> None:
        try:
            config = self._reload_config()
        except ValueError as error:
            _log.error("configuration not reloaded", error=str(error))
        else:
            self._engine.resync = config.resync_seconds
            live = {"resync_seconds", "log_format", "log_level"}
            fixed = [each.name for each in fields(config) if each.name not in live]
            changed = [n for n in fixed if getattr(config, n) != getattr(self._config, n)]
            if changed:
                _log.warning("takes effect after a restart of the daemon", settings=changed)
            _log.info("configuration reloaded")
        self._source.poke()
        self._engine.look_at_all()

    def _follow_source(self) -> None:
        for snapshot in self._source.watch(self._stop):
            self._accept(snapshot)

    def _accept(self, snapshot: Snapshot) -> None:
        for problem in snapshot.problems:
            if problem not in self._problems:
                _log.error("manifest refused", problem=str(problem))
        self._problems = snapshot.problems
        manifests: dict[str, tuple[Manifest, Desired]] = {}
        for name, manifest in snapshot.manifests.items():
            known = self._manifests.get(name)
            if known is not None and known[0].digest == manifest.digest:
                manifests[name] = known
            else:
                manifests[name] = (manifest, desire(manifest))
        self._fleet.accepted(snapshot)
        self._manifests = manifests
        _log.info(
            "manifests read",
            revision=snapshot.revision[:12],
            virtual_servers=len(manifests),
            problems=len(snapshot.problems),
            held_at_last_good=sorted(snapshot.retained),
        )
        self._engine.want({name: wanted for name, (_, wanted) in manifests.items()})

    def _connected(self) -> None:
        # Events were missed while there was no connection.
        self._engine.look_at_all()

    def _heard(self, name: str, kind: str, device: str) -> None:
        # On libvirt's event thread: only a name is put in the queue.
        _log.debug("event", virtual_server=name, kind=kind, device=device or None)
        self._metrics.heard(name, kind, managed=name in self._engine.wanted)
        self._engine.heard(name, kind, device)

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
