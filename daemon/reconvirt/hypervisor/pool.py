"""Connections to one libvirt, of which each call has one for itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconvirt.hypervisor.channel import CLOSE_SECONDS, OPEN_SECONDS, Channel
from reconvirt.hypervisor.errors import HypervisorDown


class Pool:
    """Connections to one libvirt; more are opened while calls hang.

    libvirtd works on five calls of a connection at a time (``max_client_requests``). While five
    hang it reads nothing more from it, not even signs of life: the connection is lost, and with it
    all that was asked for over it. So no two calls share a connection.

    Args:
        uri: such as ``qemu:///system``.
        timeout: seconds that opening a connection may take.
        keepalive: seconds between two signs of life, and how many may be missed.

    Raises:
        HypervisorError: libvirt does not open the first one.
    """

    def __init__(
        self, uri: str, timeout: float = OPEN_SECONDS, keepalive: tuple[int, int] = (5, 3)
    ) -> None:
        self.uri = uri
        self._timeout = timeout
        self._keepalive = keepalive
        self._lock = threading.Lock()
        self._first = self._open()
        self._all = [self._first]
        self._idle = [self._first]
        self._closed = False

    @contextmanager
    def channel(self) -> Iterator[Channel]:
        """A connection that no other call uses inside the block.

        Raises:
            HypervisorDown: all were closed.
            HypervisorError: another one is needed, and libvirt does not open it.
        """
        channel = self._take()
        try:
            yield channel
        finally:
            self._give_back(channel)

    def watch(
        self, on_event: Callable[[str, str, str], None], on_close: Callable[[str], None]
    ) -> None:
        """Call back for every event, and when the first connection is lost."""
        self._first.watch(on_event, on_close)

    @property
    def alive(self) -> bool:
        """Whether the first connection, over which events come, still works."""
        return self._first.alive

    def close(self) -> None:
        """Take no more calls; each connection ends when its last call has come back."""
        with self._lock:
            self._closed = True
            all_, self._all, self._idle = self._all, [], []
        end = time.monotonic() + CLOSE_SECONDS
        for each in all_:
            each.close(max(end - time.monotonic(), 0.0))

    def _take(self) -> Channel:
        with self._lock:
            if self._closed:
                raise HypervisorDown(f"the connection to libvirt at {self.uri} was closed")
            if self._idle:
                return self._idle.pop()
        channel = self._open()
        with self._lock:
            self._all.append(channel)
            closed = self._is_closed()
        if closed:
            # Closed meanwhile; whoever uses it is told so.
            channel.close()
        return channel

    def _is_closed(self) -> bool:
        return self._closed

    def _open(self) -> Channel:
        return Channel(self.uri, self._timeout, self._keepalive)

    def _give_back(self, channel: Channel) -> None:
        # The first one stays, also when it is lost: whoever watches it makes it again.
        works = channel is self._first or channel.alive
        with self._lock:
            if self._closed:
                return
            if works:
                self._idle.append(channel)
                return
            self._all.remove(channel)
        channel.close()
