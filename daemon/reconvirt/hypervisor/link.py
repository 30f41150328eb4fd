"""Keeping a connection to libvirt: made again whenever it is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import structlog

from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorDown, HypervisorError
from reconvirt.hypervisor.supervision import Beat

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 15.0

_log = structlog.get_logger(__name__)


class Link:
    """The current connection, made again with its events after every loss.

    Args:
        uri: where libvirt is.
        on_up: called after each new connection: whatever happened meanwhile was missed.
        on_event: called with a virtual server's name, the kind of event and the device that it is
            about, on libvirt's thread.
        admit: called with each new connection before it is used; one for which it raises
            HypervisorError is not used.
    """

    def __init__(
        self,
        uri: str,
        on_up: Callable[[], None],
        on_event: Callable[[str, str, str], None],
        admit: Callable[[Hypervisor], None] = lambda _hypervisor: None,
    ) -> None:
        self.uri = uri
        self._on_up = on_up
        self._on_event = on_event
        self._admit = admit
        self._current: Hypervisor | None = None
        self._watched: Hypervisor | None = None
        self._wake = threading.Event()
        self.stopping = threading.Event()
        self.beat = Beat()

    def current(self) -> Hypervisor:
        """The connection.

        Raises:
            HypervisorDown: there is none now.
        """
        hypervisor = self._current
        if hypervisor is None:
            raise HypervisorDown(f"no connection to libvirt at {self.uri}")
        return hypervisor

    @property
    def up(self) -> bool:
        """Whether there is a connection now."""
        return self._current is not None

    def suspect(self) -> None:
        """Look whether the connection still works: a call has failed as if it did not."""
        hypervisor = self._current
        if hypervisor is not None and not hypervisor.alive():
            self._wake.set()

    def run(self) -> None:
        """Connect, and connect again, until :meth:`stop`; the body of a thread."""
        pause = _FIRST_PAUSE
        try:
            while not self.stopping.is_set():
                # Cleared before the look at stopping: whoever sets that wakes us afterwards.
                self._wake.clear()
                if not self.stopping.is_set() and self._connect():
                    pause = _FIRST_PAUSE
                    while not self.beat.wait(self._wake, _LONGEST_PAUSE):
                        pass
                    self._disconnect()
                    self._wake.clear()
                if not self.stopping.is_set():
                    # A little chance in it, so that many daemons do not knock in step.
                    moment = pause * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
                    self.beat.wait(self._wake, moment)
                    pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            self._disconnect()

    def stop(self) -> None:
        """End :meth:`run`."""
        self.stopping.set()
        self._wake.set()

    def _connect(self) -> bool:
        hypervisor = None
        try:
            hypervisor = self._watched = Hypervisor(self.uri)
            watched = hypervisor
            hypervisor.watch(self._on_event, lambda reason: self._lost(watched, reason))
            self._admit(hypervisor)
        except HypervisorError as error:
            _log.warning("cannot connect to libvirt", uri=self.uri, error=str(error))
            if hypervisor is not None:
                hypervisor.close()
            return False
        self._current = hypervisor
        _log.info("connected to libvirt", uri=self.uri)
        self._on_up()
        return True

    def _disconnect(self) -> None:
        hypervisor, self._current, self._watched = self._current, None, None
        if hypervisor is not None:
            hypervisor.close()

    def _lost(self, hypervisor: Hypervisor, reason: str) -> None:
        # On libvirt's event thread: no call of libvirt here. One that we have closed ourselves,
        # or that came before the present one, is of no interest.
        if hypervisor is self._watched:
            _log.warning("connection to libvirt lost", uri=self.uri, reason=reason)
            self._wake.set()
