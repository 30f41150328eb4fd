"""Server-sent events: pieces that a thread makes, sent as they come."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator

import anyio
from starlette.responses import StreamingResponse

from reconvirt.api.answers import ErrorAnswer
from reconvirt.api.endpoints import Sent
from reconvirt.api.errors import Refusal
from reconvirt.api.wire import as_json

_MOST_STREAMS = 64
_ALIVE_SECONDS = 10.0


class Streams:
    """The streams of one server, each of which has a thread while it waits.

    Args:
        stop: whether the server is to end.
    """

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop
        self._open = 0

    def respond(
        self, what: str, make: Callable[[Callable[[], bool]], Iterator[list[Sent]]]
    ) -> StreamingResponse:
        """A response that goes on until the reader or the server ends it.

        Args:
            what: what it is for, in words.
            make: makes the pieces, until its argument says stop.

        Raises:
            Refusal: there are too many already.
        """
        if self._open >= _MOST_STREAMS:
            why = f"{_MOST_STREAMS} streams are open already"
            raise Refusal(503, ErrorAnswer(what, why, "close some, or try again later"))
        return StreamingResponse(
            self._pieces(make(self._stop)),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _pieces(self, source: Iterator[list[Sent]]) -> AsyncIterator[str]:
        self._open += 1
        limiter = anyio.CapacityLimiter(1)  # not one of those that other requests share
        last = time.monotonic()
        try:
            yield ": reconvirt\n\n"
            while not self._stop():
                batch = await anyio.to_thread.run_sync(next, source, None, limiter=limiter)
                if batch is None:
                    return
                now = time.monotonic()
                for each in batch:
                    data = json.dumps(as_json(each.data), ensure_ascii=False)
                    yield f"id: {each.number}\nevent: {each.kind}\ndata: {data}\n\n"
                    last = now
                if now - last > _ALIVE_SECONDS:
                    yield ": still here\n\n"
                    last = now
        finally:
            self._open -= 1
