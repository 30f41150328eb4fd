"""HTTP/1.1 as the server speaks it: with limits, and with the kernel's word on who is there."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconvirt.api.peers import peer_of

MOST_CONNECTIONS = 128
"""Of one socket; more are closed at once, lest the daemon has no files left for its own work."""

_PATIENCE_SECONDS = 10.0
_TELL_AGAIN_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 for those who have something to ask, and not for too many at a time."""

    _told_at: ClassVar[float] = -_TELL_AGAIN_SECONDS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Let somebody in, if there is room."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self._tell_of_too_many()
            transport.abort()
            return
        self.loop.call_later(_PATIENCE_SECONDS, self._close_if_silent)

    def _tell_of_too_many(self) -> None:
        now = self.loop.time()
        if now - LimitedProtocol._told_at >= _TELL_AGAIN_SECONDS:
            LimitedProtocol._told_at = now
            _log.warning("connections refused: there are too many", most=MOST_CONNECTIONS)

    def _close_if_silent(self) -> None:
        if not self.cycle:
            self.transport.abort()


class PeerProtocol(LimitedProtocol):
    """The same over a unix socket; each request's state has the ``peer`` that makes it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Find out who is there."""
        super().connection_made(transport)
        try:
            peer = peer_of(transport.get_extra_info("socket"))
        except OSError as error:
            _log.warning("connection refused: it cannot be told who is there", error=str(error))
            transport.abort()
            return
        self.app_state = {**self.app_state, "peer": peer}
