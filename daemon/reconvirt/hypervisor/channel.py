"""One connection to libvirt, which knows who is inside it.

A connection that is closed while another thread is inside one of its calls ends the process with
a segmentation fault: libvirt's client library frees what the call still uses. So the calls that
are inside are counted, and a connection is closed only by whoever comes out last.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import libvirt

from reconvirt.hypervisor.bounded_calls import BoundedCalls
from reconvirt.hypervisor.errors import HypervisorDown, HypervisorError, translated
from reconvirt.hypervisor.events import open_raw, subscribe, unsubscribe
from reconvirt.hypervisor.in_flight import IN_FLIGHT

OPEN_SECONDS = 15.0
"""How long opening a connection may take."""

CLOSE_SECONDS = 5.0
"""How long the end of a connection is waited for."""

_KEEPALIVE = (5, 3)

_opens = BoundedCalls(most_stuck=3)
_closes = BoundedCalls(most_stuck=1000)  # one that is not closed stays open for ever


class Channel:
    """A connection that is closed by whoever comes out last.

    All methods may be called from any thread.

    Args:
        uri: such as ``qemu:///system``.
        timeout: seconds that opening it may take.
        keepalive: seconds between two signs of life, and how many may be missed (``virsh -k``,
            ``-K``).

    Raises:
        NoAnswer: it could not be opened in time; what is opened later is closed at once.
        HypervisorError: libvirt does not open it.
    """

    def __init__(
        self,
        uri: str,
        timeout: float = OPEN_SECONDS,
        keepalive: tuple[int, int] = _KEEPALIVE,
    ) -> None:
        self.uri = uri
        self._lock = threading.Lock()
        self._inside = 0
        self._closing = False
        self._callbacks: list[int] | None = None
        with translated():
            self._connection = _open(uri, timeout, keepalive)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def call(self, what: str, subject: str = "") -> Iterator[libvirt.virConnect]:
        """The connection, for calls inside the block; libvirt's errors come out as ours.

        Neither the connection nor an object of it may be used after the block.

        Args:
            what: the name of what is done.
            subject: the virtual server that it is about; "" if it is about none.

        Raises:
            HypervisorDown: it was closed.
            HypervisorError: as :mod:`reconvirt.hypervisor.errors` says.
        """
        with self._counted(), IN_FLIGHT.call(self.uri, what, subject), translated():
            yield self._connection

    def watch(
        self, on_event: Callable[[str, str, str], None], on_close: Callable[[str], None]
    ) -> None:
        """Call back for every event of a virtual server, and when the connection is lost.

        The callbacks run on libvirt's event thread and must not call libvirt.
        """
        with self.call("watch") as connection:
            self._callbacks = subscribe(connection, on_event, on_close)

    @property
    def alive(self) -> bool:
        """Whether it still works, as far as is known without a call."""
        try:
            with self._counted():
                return bool(self._connection.isAlive())
        except (HypervisorDown, libvirt.libvirtError):
            return False

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Take no more calls, and end the connection when the last one has come out.

        Args:
            timeout: seconds to wait for a libvirt that does not answer; it is ended all the same.
        """
        with self._lock:
            last = not self._is_closing() and not self._inside
            self._closing = True
        if last:
            # A libvirtd that hangs would not even let us go; then it is waited for elsewhere.
            with contextlib.suppress(HypervisorError):
                _closes.run(self._end, timeout, what=f"closing {self.uri}")

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            if self._is_closing():
                raise HypervisorDown(f"the connection to libvirt at {self.uri} was closed")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                last = self._is_closing() and not self._inside
            if last:
                self._end()

    def _is_closing(self) -> bool:
        return self._closing

    def _end(self) -> None:
        with IN_FLIGHT.call(self.uri, "close", bounded=False):
            if self._callbacks is not None:
                # They hold the connection: libvirt would neither free it nor stop calling back.
                unsubscribe(self._connection, self._callbacks)
            with contextlib.suppress(libvirt.libvirtError):  # it was lost already
                self._connection.close()


def _open(uri: str, timeout: float, keepalive: tuple[int, int]) -> libvirt.virConnect:
    def work() -> libvirt.virConnect:
        with IN_FLIGHT.call(uri, "open", bounded=False):
            connection = open_raw(uri)
            # Drivers inside this process (embed, test) have no transport to keep alive.
            with contextlib.suppress(libvirt.libvirtError):
                connection.setKeepAlive(*keepalive)
            return connection

    def close(connection: libvirt.virConnect) -> None:
        with (
            IN_FLIGHT.call(uri, "close", bounded=False),
            contextlib.suppress(libvirt.libvirtError),
        ):
            connection.close()

    return _opens.run(work, timeout, late=close, key=uri, what=f"connecting to libvirt at {uri}")


def open_connection(uri: str, timeout: float = OPEN_SECONDS) -> Channel:
    """A connection to libvirt, opened with a time limit and closed by whoever comes out last.

    Args:
        uri: such as ``qemu+ssh://host/system``.
        timeout: seconds that opening it may take.

    Raises:
        NoAnswer: it could not be opened in time.
        HypervisorError: libvirt does not open it.
    """
    return Channel(uri, timeout)
