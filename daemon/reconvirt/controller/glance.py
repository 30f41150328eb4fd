"""Noticing what libvirt sends no event for.

``virsh setvcpus`` on a running virtual server is told to nobody (seen with libvirt 9.0). One bulk
call every few seconds, which waits for no virtual server, shows that something has changed; like
an event it only puts a name in the queue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorError
from reconvirt.hypervisor.supervision import Beat


class Glances:
    """Looks at all virtual servers from afar.

    Args:
        hypervisor: gives the current connection, or raises HypervisorDown.
        seconds: between two looks.
        on_change: called with the name of each virtual server that looks other than before.
        also: what else is checked each time, while there is a connection.
    """

    def __init__(
        self,
        hypervisor: Callable[[], Hypervisor],
        seconds: float,
        on_change: Callable[[str], None],
        also: Callable[[], None] = lambda: None,
    ) -> None:
        self._hypervisor = hypervisor
        self._seconds = seconds
        self._on_change = on_change
        self._also = also
        self._before: Mapping[str, object] = {}
        self.beat = Beat()

    def run(self, stop: threading.Event) -> None:
        """Look until ``stop``; the body of a thread."""
        while not self.beat.wait(stop, self._seconds):
            self.look()

    def look(self) -> None:
        """Look once."""
        try:
            now = self._hypervisor().glance()
        except HypervisorError:
            return  # whoever makes the connection again has everything looked at
        before, self._before = self._before, now
        for name, looks in now.items():
            # At the first look, too: nobody knows what happened since it was last observed.
            if before.get(name) != looks:
                self._on_change(name)
        self._also()
