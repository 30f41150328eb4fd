"""The server of the interface and the page: one thread, beside the daemon's own.

The web framework is Starlette, the server uvicorn: both are well kept and typed, need hardly
anything besides h11 and anyio, take sockets that are already open, give a protocol its connection
(and so the kernel's word on who is there), and notice at once when the reader of a stream is gone.
All that looks at libvirt or waits is done in threads, as everywhere in the daemon.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from types import TracebackType
from typing import Self

import structlog
import uvicorn
from starlette.applications import Starlette

from reconvirt.api.app import make_app
from reconvirt.api.page import make_page
from reconvirt.api.peers import find_access
from reconvirt.api.protocols import LimitedProtocol, PeerProtocol
from reconvirt.api.sockets import UnixListener, listen_on_loopback
from reconvirt.api.streams import Streams
from reconvirt.controller.config import Config
from reconvirt.controller.desk import Desk
from reconvirt.hypervisor.supervision import THREADS, Beat

_END_SECONDS = 3
_BEAT_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class Server:
    """Serves what people ask of a daemon, between ``with`` and its end.

    What cannot be served is logged and does no harm to the rest.

    Args:
        desk: what can be asked for.
        config: where it is served, and to whom.
    """

    def __init__(self, desk: Desk, config: Config) -> None:
        self._desk = desk
        self._config = config
        self._stop = threading.Event()
        self._streams = Streams(self._stop.is_set)
        self._listener: UnixListener | None = None
        self._servers: list[tuple[uvicorn.Server, socket.socket]] = []
        self._thread: threading.Thread | None = None
        self._beat = Beat()
        self.page_url = ""

    def __enter__(self) -> Self:
        # It says in passing what is of no interest to administrators.
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        self._open()
        if self._servers:
            self._thread = THREADS.start("api", self._run, self._stop, beat=self._beat)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for server, _ in self._servers:
            server.should_exit = True
        if self._thread is not None:
            self._thread.join(2 * _END_SECONDS)
        if self._listener is not None:
            self._listener.close()

    def _open(self) -> None:
        self._open_interface()
        self._open_page()

    def _open_interface(self) -> None:
        path = self._config.socket.path
        try:
            access = find_access(self._config.socket.read_group, self._config.socket.write_group)
            self._listener = UnixListener(path, access.socket_group)
        except (OSError, LookupError) as error:
            _log.error("interface not served", socket=str(path), error=str(error))
            return
        app = make_app(self._desk, access, self._streams)
        self._add(app, self._listener.socket, http=PeerProtocol)
        _log.info("interface served", socket=str(path))

    def _open_page(self) -> None:
        address, port = self._config.page.address, self._config.page.port
        if port == 0:
            return
        try:
            opened = listen_on_loopback(address, port)
        except (OSError, ValueError, OverflowError) as error:
            _log.error("page not served", address=address, port=port, error=str(error))
            return
        host = f"[{address}]" if ":" in address else address
        self.page_url = f"http://{host}:{port}/"
        self._add(make_page(self._desk, address, self._streams), opened, http=LimitedProtocol)
        _log.info("page served", url=self.page_url)

    def _add(self, app: Starlette, opened: socket.socket, http: type[asyncio.Protocol]) -> None:
        config = uvicorn.Config(
            app,
            http=http,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_END_SECONDS,
        )
        self._servers.append((uvicorn.Server(config), opened))

    def _run(self) -> None:
        """Serve until the end; what was opened is opened again if it was served before."""
        if not self._servers:
            self._open()
        try:
            asyncio.run(self._serve())
        finally:
            for _, opened in self._servers:
                opened.close()
            self._servers.clear()

    async def _serve(self) -> None:
        alive = asyncio.create_task(self._live())
        try:
            serving = [server.serve(sockets=[opened]) for server, opened in self._servers]
            await asyncio.gather(*serving)
        finally:
            alive.cancel()

    async def _live(self) -> None:
        """Give signs of life, as long as the loop goes round."""
        while True:
            self._beat()
            await asyncio.sleep(_BEAT_SECONDS)
