"""Telling systemd how the service is doing, as sd_notify(3) does: datagrams to a socket."""

from __future__ import annotations

import contextlib
import os
import socket
import time

_MICROSECONDS = 1_000_000


class Notifier:
    """Sends states to the service manager; does nothing where there is none.

    Args:
        address: the socket of the manager; the environment's ``NOTIFY_SOCKET`` unless stated.
        watchdog: the seconds within which the manager wants to hear of us; the environment's
            unless stated.
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        self._address = address if address is not None else os.environ.get("NOTIFY_SOCKET", "")
        self.watchdog = watchdog if watchdog is not None else _watchdog_of_environment()

    def ready(self, status: str) -> None:
        """The service has started, or has reloaded its configuration."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """One line for ``systemctl status``."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being reloaded; :meth:`ready` follows.

        The time lets a unit of Type=notify-reload tell this reload from an earlier one; units of
        Type=notify ignore it.
        """
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """The service ends."""
        self._send("STOPPING=1", "STATUS=finishing the steps in hand")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Starting or stopping takes longer; the manager shall wait this long from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * _MICROSECONDS)}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # A name that begins with @ stands for one in the abstract namespace.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        # Each state on a line of its own; nobody is helped by a daemon that fails over it.
        message = "\n".join(line.replace("\n", " ") for line in lines).encode()
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.settimeout(1.0)
            sender.sendto(message, address)


def _watchdog_of_environment() -> float | None:
    """The watchdog's period in seconds, if it is meant for this very process."""
    period, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not period.isdigit() or process not in ("", str(os.getpid())):
        return None
    return int(period) / _MICROSECONDS
