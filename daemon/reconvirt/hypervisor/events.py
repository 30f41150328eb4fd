"""libvirt's events: hints that a virtual server should be looked at again, nothing more.

One thread of the process runs libvirt's event loop; the callbacks only pass a name on.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import libvirt
import structlog

from reconvirt.hypervisor.supervision import THREADS, Beat

_EVENTS = {
    "lifecycle": libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    "reboot": libvirt.VIR_DOMAIN_EVENT_ID_REBOOT,
    "watchdog": libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG,
    "io-error": libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR,
    "block-job": libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB,
    "disk-change": libvirt.VIR_DOMAIN_EVENT_ID_DISK_CHANGE,
    "tray-change": libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE,
    "device-removed": libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    "device-added": libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    "device-removal-failed": libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
    "balloon-change": libvirt.VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE,
    "tunable": libvirt.VIR_DOMAIN_EVENT_ID_TUNABLE,
    "agent-lifecycle": libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,
    "job-completed": libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED,
    "metadata-change": libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
}
EVENT_KINDS = tuple(_EVENTS)
"""What events may be about."""

_CLOSE_REASONS = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "error",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirt has ended",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "libvirt does not answer",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "closed by us",
}

_log = structlog.get_logger(__name__)
_BEAT_MILLISECONDS = 1000
_END_SECONDS = 5.0
_KIND = "libvirt-events"


class EventLoop:
    """libvirt's event loop, which runs in a thread of its own.

    libvirt has one a process. It keeps connections alive, finds out that they are lost, and calls
    back for events.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._timer = -1
        self._ending = threading.Event()
        self._beat = Beat()

    def start(self) -> None:
        """Run it, unless it runs already; before connecting."""
        with self._lock:
            if self._thread is not None:
                return
            # libvirt prints every error to stderr otherwise, besides raising it.
            libvirt.registerErrorHandler(_ignore, None)
            libvirt.virEventRegisterDefaultImpl()
            # libvirt's loop sleeps until something happens and does not see new work otherwise.
            self._timer = libvirt.virEventAddTimeout(
                _BEAT_MILLISECONDS, lambda _timer, _data: self._beat(), None
            )
            self._thread = THREADS.start(_KIND, self._run, self._ending, beat=self._beat)
            # A loop that still runs when the interpreter goes calls back into what is gone.
            atexit.register(self.stop)

    def stop(self, timeout: float = _END_SECONDS) -> bool:
        """End it for good; whether it has ended within so many seconds."""
        with self._lock:
            thread = self._thread
            self._ending.set()
        if thread is None or not thread.is_alive():
            return True
        libvirt.virEventUpdateTimeout(self._timer, 0)  # wakes it
        thread.join(timeout)
        return not thread.is_alive()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                libvirt.virEventRunDefaultImpl()
            except libvirt.libvirtError as error:
                _log.warning("libvirt's event loop failed once", error=str(error))


EVENT_LOOP = EventLoop()
"""The one of this process."""


def open_raw(uri: str) -> libvirt.virConnect:
    """A connection to libvirt, of which its event loop takes care; without a time limit.

    Without the loop it could not be kept alive: a libvirt that hangs would be waited for for ever.

    Raises:
        libvirt.libvirtError: as libvirt says.
    """
    EVENT_LOOP.start()
    return libvirt.open(uri)


def _ignore(_context: Any, _error: Any) -> None:
    """Print nothing."""


def subscribe(
    connection: libvirt.virConnect,
    on_event: Callable[[str, str, str], None],
    on_close: Callable[[str], None],
) -> list[int]:
    """Pass on every event that may mean a difference, and the loss of the connection.

    Returns:
        What :func:`unsubscribe` needs.
    """

    def closed(_connection: libvirt.virConnect, reason: int, _data: Any) -> None:
        with THREADS.guarded(_KIND):
            on_close(_CLOSE_REASONS.get(reason, str(reason)))

    connection.registerCloseCallback(closed, None)
    callbacks = []
    for kind, number in _EVENTS.items():
        # Arguments differ from event to event; the domain is always the second, and of those
        # about a device its alias is the third.
        def passed_on(*arguments: Any, kind: str = kind) -> None:
            with THREADS.guarded(_KIND):
                alias = str(arguments[2]) if kind.startswith("device-") else ""
                on_event(arguments[1].name(), kind, alias)

        callbacks.append(connection.domainEventRegisterAny(None, number, passed_on, None))
    return callbacks


def unsubscribe(connection: libvirt.virConnect, callbacks: list[int]) -> None:
    """Call back no more; the connection may be lost."""
    with contextlib.suppress(libvirt.libvirtError):
        connection.unregisterCloseCallback()
    for number in callbacks:
        with contextlib.suppress(libvirt.libvirtError):
            connection.domainEventDeregisterAny(number)
