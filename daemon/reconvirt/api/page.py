"""The status page: what the interface tells, for people with a browser on this host; read-only.

It is rendered here and complete without scripts; with them it is renewed as things change. It has
no secrets, and nothing on it comes from elsewhere: the browser is told so by its security policy.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from reconvirt import __version__
from reconvirt.api.answering import answer_description, answer_status
from reconvirt.api.answers import DescriptionAnswer
from reconvirt.api.endpoints import STEP_SECONDS, Sent
from reconvirt.api.errors import Refusal
from reconvirt.api.shield import Shield
from reconvirt.api.streams import Streams
from reconvirt.api.view import (
    age,
    breakable,
    change_rows,
    condition_badges,
    moving,
    phase_tone,
    summary_of,
)
from reconvirt.api.wire import moment
from reconvirt.controller.desk import Desk, Unknown
from reconvirt.hypervisor.errors import HypervisorError

_FILES = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_LATEST_EVENTS = 15
_RENEW_SECONDS = 1.0

Render = Callable[[Request], Response]


def make_page(desk: Desk, address: str, streams: Streams) -> Starlette:
    """The web application of the page.

    Args:
        desk: what is shown.
        address: the address that browsers call it by, besides this host's usual names.
        streams: where the signs that something has changed are sent.
    """
    pages = _Pages(desk, streams)
    routes = [
        Route("/", _in_thread(pages.fleet)),
        Route("/events", _in_thread(pages.events)),
        Route("/servers/{name}", _in_thread(pages.server)),
        Route("/live", pages.live),
        *(Route(f"/{name}", _file(name, kind)) for name, kind in _FILES.items()),
    ]
    made = Starlette(routes=routes, exception_handlers={HTTPException: pages.tell_error})
    made.add_middleware(Shield, address=address)
    return made


class _Pages:
    def __init__(self, desk: Desk, streams: Streams) -> None:
        self._desk = desk
        self._streams = streams
        self._templates = Environment(
            loader=PackageLoader("reconvirt.api", "web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            age=age,
            breakable=breakable,
            moment=moment,
            tone=phase_tone,
            badges=condition_badges,
            changes=change_rows,
            moving=moving,
        )

    def fleet(self, _request: Request) -> Response:
        """All virtual servers."""
        fleet = self._desk.fleet()
        servers = [status for _, status in sorted(fleet.servers.items())]
        events = self._desk.events()[-_LATEST_EVENTS:][::-1]
        return self._render(
            "fleet.html",
            fleet=fleet,
            servers=servers,
            summary=summary_of(servers),
            events=events,
        )

    def events(self, _request: Request) -> Response:
        """All events that are kept."""
        return self._render("events.html", events=self._desk.events()[::-1])

    def server(self, request: Request) -> Response:
        """One virtual server."""
        name = request.path_params["name"]
        try:
            status, explanation = self._desk.status(name), self._desk.explain(name)
        except Unknown as error:
            return self._error(404, str(error))
        trouble = ""
        try:
            found = answer_description(self._desk.describe(name))
        except (HypervisorError, Unknown) as error:
            # What the daemon knows by itself is shown all the same.
            trouble = str(error)
            found = DescriptionAnswer(answer_status(status), None, (), ())
        spec = None
        if found.spec is not None:
            spec = yaml.safe_dump(_plain(found.spec), sort_keys=False, allow_unicode=True)
        return self._render(
            "server.html",
            status=status,
            explanation=explanation,
            lines=found.lines,
            spec=spec,
            events=self._desk.events(0, name)[::-1],
            trouble=trouble,
        )

    async def live(self, request: Request) -> Response:
        """Signs that something has changed."""
        try:
            return self._streams.respond("the page", self._changes)
        except Refusal as refusal:
            return await self.tell_error(request, HTTPException(refusal.status, str(refusal)))

    def _changes(self, stop: Callable[[], bool]) -> Iterator[list[Sent]]:
        version = self._desk.fleet().version
        while not stop():
            fleet = self._desk.wait(version, STEP_SECONDS)
            if fleet.version == version:
                yield []
                continue
            version = fleet.version
            yield [Sent("changed", version, version)]
            time.sleep(_RENEW_SECONDS)

    async def tell_error(self, _request: Request, error: Exception) -> Response:
        """There is no such page."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        return self._error(status, getattr(error, "detail", "") or "There is no such page.")

    def _error(self, status: int, message: str) -> Response:
        return self._render("error.html", status, message=message)

    def _render(self, template: str, status_code: int = 200, **values: Any) -> Response:
        fleet = self._desk.fleet()
        text = self._templates.get_template(template).render(
            host=socket.gethostname(),
            program_version=__version__,
            now=time.time(),
            connected=fleet.connected,
            prune_held=fleet.prune_held,
            problems=fleet.problems,
            **values,
        )
        return HTMLResponse(text, status_code)


def _in_thread(render: Render) -> Callable[[Request], Any]:
    async def serve(request: Request) -> Response:
        return await run_in_threadpool(render, request)

    return serve


def _file(name: str, kind: str) -> Callable[[Request], Any]:
    content = (Path(__file__).parent / "web" / name).read_bytes()

    async def serve(_request: Request) -> Response:
        return Response(content, headers={"Content-Type": kind})

    return serve


def _plain(value: Any) -> Any:
    """A value without the types that YAML has no words for."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, int | float | bool | None) else str(value)
