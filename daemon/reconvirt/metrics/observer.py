"""What the controller tells whoever counts, and does nothing with it itself."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

Result = Literal["success", "error", "requeue", "requeue_after"]
"""How a reconcile ended, by controller-runtime's words."""


class Observer:
    """Told what happens in the queue and to the virtual servers; this one ignores it.

    The methods are called from several threads, under the queue's lock in part: they must return
    at once and call nothing back.
    """

    def queued(self, key: Hashable, priority: str) -> None:
        """A key waits for a worker now, or with another priority than before."""

    def taken(self, key: Hashable) -> None:
        """A worker has taken a key."""

    def finished(self, key: Hashable) -> None:
        """A worker has given a key back."""

    def retried(self, key: Hashable) -> None:
        """A key that has failed will be tried again."""

    def reconciled(
        self, name: str, result: Result, *, converged: bool = False, terminal: bool = False
    ) -> None:
        """A reconcile has ended.

        Args:
            name: the virtual server.
            result: how it ended.
            converged: whether the virtual server is as its manifest wants it.
            terminal: whether it is not tried again before something changes.
        """

    def panicked(self, name: str) -> None:
        """A reconcile has ended in an error that nobody had foreseen."""

    def heard(self, name: str, kind: str, *, managed: bool) -> None:
        """libvirt has sent an event about a virtual server, which is looked at if it is managed."""

    def unmanaged(self, name: str) -> None:
        """A virtual server is not managed any more."""

    def wanted(self, name: str, written_at: float) -> None:
        """The manifest of a virtual server has changed.

        Args:
            name: the virtual server.
            written_at: when its file was written, in seconds since 1970.
        """


SILENT = Observer()
"""The one for whoever does not count."""
