"""The endpoint that Prometheus scrapes: HTTP or HTTPS, one path, perhaps only for some users.

The server is the one of Prometheus' own client: a thread for each scraper.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import structlog
from prometheus_client.exposition import ThreadingWSGIServer

from reconvirt.hypervisor.supervision import THREADS, Beat
from reconvirt.metrics.exposition import Exposition
from reconvirt.metrics.settings import MetricsSettings
from reconvirt.metrics.users import Users, UsersError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_CLIENT_SECONDS = 30
_POLL_SECONDS = 0.1
_ACCEPTED = ("ACCEPT", "ACCEPT_ENCODING")

_log = structlog.get_logger(__name__)


class EndpointError(Exception):
    """Metrics cannot be served as the configuration says; the text says why."""


class _Server(ThreadingWSGIServer):
    """Serves each scraper in a thread; one that is slow holds up no other."""

    # Those that are still being served do not keep the daemon from ending.
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def service_actions(self) -> None:
        """Give a sign of life; called between two requests, many times a second."""
        super().service_actions()
        self.beat()

    @cached_property
    def beat(self) -> Beat:
        """The signs of life."""
        return Beat()


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _CLIENT_SECONDS

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its name there
        _log.debug("request", text=format % arguments)


class Endpoint:
    """Serves metrics.

    Args:
        settings: where and how.
        exposition: renders them.

    Raises:
        EndpointError: the address is taken, or certificate, key or users cannot be read.
    """

    def __init__(self, settings: MetricsSettings, exposition: Exposition) -> None:
        host, port = settings.address
        try:
            users = Users(Path(settings.users_file)) if settings.users_file else None
            application = _guarded(exposition, settings.path, users)
            kind = _ServerV6 if ":" in host else _Server
            self._server = make_server(host, port, application, kind, handler_class=_Handler)
        except (OSError, UsersError) as error:
            raise EndpointError(f"metrics on {settings.listen}: {error}") from error
        try:
            if settings.tls_certificate:
                self._server.socket = _secured(self._server.socket, settings)
        except (OSError, ssl.SSLError) as error:
            self._server.server_close()
            raise EndpointError(f"{settings.tls_certificate}: {error}") from error
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.server_port

    def start(self) -> None:
        """Serve, in a thread of its own."""
        server, stop = self._server, self._stop
        beat = server.beat if isinstance(server, _Server) else None
        self._thread = THREADS.start(
            "endpoint", lambda: server.serve_forever(_POLL_SECONDS), stop, beat=beat
        )

    def stop(self) -> None:
        """Serve nobody any more."""
        self._stop.set()
        if self._thread is not None and self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _secured(listening: socket.socket, settings: MetricsSettings) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    # The handshake is made in the thread of each scraper: one that says nothing holds up nobody.
    return context.wrap_socket(listening, server_side=True, do_handshake_on_connect=False)


def _guarded(exposition: Exposition, path: str, users: Users | None) -> WSGIApplication:
    """The metrics at one path, and for users only."""

    def application(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if users is not None and not _admitted(users, environment):
            challenge = ("WWW-Authenticate", 'Basic realm="reconvirt"')
            return _say(start, "401 Unauthorized", "Name and password, please.\n", challenge)
        if environment["REQUEST_METHOD"] != "GET":
            return _say(start, "405 Method Not Allowed", "Only GET.\n", ("Allow", "GET"))
        if environment["PATH_INFO"] == path:
            return _answer(exposition, environment, start)
        if environment["PATH_INFO"] == "/":
            return _say(start, "200 OK", f"reconvirt: metrics are at {path}\n")
        return _say(start, "404 Not Found", f"Metrics are at {path}\n")

    return application


def _answer(
    exposition: Exposition, environment: WSGIEnvironment, start: StartResponse
) -> Iterable[bytes]:
    accept, encodings = (environment.get(f"HTTP_{each}", "") for each in _ACCEPTED)
    answer = exposition.answer(accept, encodings)
    headers = [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))]
    if answer.compressed:
        headers.append(("Content-Encoding", "gzip"))
    start("200 OK", headers)
    return [answer.body]


def _admitted(users: Users, environment: WSGIEnvironment) -> bool:
    try:
        return users.admits(environment.get("HTTP_AUTHORIZATION", ""))
    except UsersError as error:
        _log.error("nobody can read metrics", error=str(error))
        return False


def _say(
    start: StartResponse, status: str, text: str, *headers: tuple[str, str]
) -> Iterable[bytes]:
    body = text.encode()
    plain = ("Content-Type", "text/plain; charset=utf-8")
    start(status, [plain, ("Content-Length", str(len(body))), *headers])
    return [body]
