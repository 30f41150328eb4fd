"""libvirt's events: hints that a virtual server should be looked at again, nothing more.

One thread of the process runs libvirt's event loop; the callbacks only pass a name on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import libvirt
import structlog

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
_last_beat = time.monotonic()
_start_lock = threading.Lock()
_started = False


def open_connection(uri: str) -> libvirt.virConnect:
    """A connection to libvirt, of which its event loop takes care.

    Without the loop it could not be kept alive: a libvirt that hangs would be waited for for ever.

    Raises:
        libvirt.libvirtError: as libvirt says.
    """
    start_event_loop()
    return libvirt.open(uri)


def start_event_loop() -> None:
    """Run libvirt's event loop in a thread of its own; once a process, before connecting."""
    global _started  # noqa: PLW0603 - libvirt has one event loop a process
    with _start_lock:
        if _started:
            return
        # libvirt prints every error to stderr otherwise, besides raising it.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        libvirt.virEventAddTimeout(_BEAT_MILLISECONDS, _beat, None)
        # libvirt's loop sleeps until something happens and does not see new work otherwise.
        threading.Thread(target=_run, name="libvirt-events", daemon=True).start()
        _started = True


def event_loop_age() -> float:
    """Seconds since libvirt's event loop gave its last sign of life, or is waited for."""
    return time.monotonic() - _last_beat


def _beat(_timer: int, _data: Any) -> None:
    global _last_beat  # noqa: PLW0603 - libvirt has one event loop a process
    _last_beat = time.monotonic()


def _run() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            _log.warning("libvirt's event loop stumbled", error=str(error))


def subscribe(
    connection: libvirt.virConnect,
    on_event: Callable[[str, str, str], None],
    on_close: Callable[[str], None],
) -> None:
    """Pass on every event that may mean a difference, and the loss of the connection."""
    connection.registerCloseCallback(
        lambda _connection, reason, _data: on_close(_CLOSE_REASONS.get(reason, str(reason))), None
    )
    for kind, number in _EVENTS.items():
        # Arguments differ from event to event; the domain is always the second, and of those
        # about a device its alias is the third.
        def passed_on(*arguments: Any, kind: str = kind) -> None:
            alias = str(arguments[2]) if kind.startswith("device-") else ""
            on_event(arguments[1].name(), kind, alias)

        connection.domainEventRegisterAny(None, number, passed_on, None)
