"""The interface as a web application: who asks is checked, the table's endpoint is called."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconvirt.api.answers import ErrorAnswer
from reconvirt.api.endpoints import ENDPOINTS, Call, Endpoint
from reconvirt.api.errors import Refusal, refusal_of, refuse_body
from reconvirt.api.openapi import openapi_document
from reconvirt.api.peers import Access, Peer
from reconvirt.api.streams import Streams
from reconvirt.api.wire import as_json
from reconvirt.controller.desk import Desk

_MOST_BYTES = 64 * 1024

_log = structlog.get_logger(__name__)


def make_app(desk: Desk, access: Access, streams: Streams) -> Starlette:
    """The web application of the unix socket."""
    routes = [
        Route(each.path, _serve(each, desk, access, streams), methods=[each.method])
        for each in ENDPOINTS
    ]

    async def describe(_request: Request) -> Response:
        return JSONResponse(openapi_document())

    return Starlette(
        routes=[*routes, Route("/v1/openapi.json", describe)],
        exception_handlers={HTTPException: _tell_http_error},
    )


def _serve(
    endpoint: Endpoint, desk: Desk, access: Access, streams: Streams
) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        name = request.path_params.get("name", "")
        what = f"{endpoint.summary[0].lower()}{endpoint.summary[1:]}"
        what = f"{what} ({name})" if name else what
        try:
            peer = request.state.peer
            user = await run_in_threadpool(_admit, peer, endpoint, access, what)
            body = await _body(request, what) if endpoint.body is not None else None
            call = Call(what, user, name, request.query_params, body)
            handle, stream = endpoint.handle, endpoint.stream
            if stream is not None and (handle is None or call.number("follow")):
                call.number("since")  # told now, and not in the middle of the stream
                return streams.respond(what, lambda stop: stream(desk, call, stop))
            answer = await run_in_threadpool(handle, desk, call) if handle else None
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            refusal = refusal_of(what, error)
            if refusal is None:
                _log.exception("unexpected error, please report it", request=what)
                advice = "see the daemon's log, and report it"
                refusal = Refusal(500, ErrorAnswer(what, "an unexpected error", advice))
            return _tell(refusal)
        if endpoint.writes:
            _log.info("asked for", request=what, user=user, pid=peer.pid)
        return JSONResponse(as_json(answer))

    return serve


def _admit(peer: Peer, endpoint: Endpoint, access: Access, what: str) -> str:
    """The user's name, if they may do it."""
    user = peer.user
    if not (access.may_write(peer) if endpoint.writes else access.may_read(peer)):
        setting = "socket.write_group" if endpoint.writes else "socket.read_group"
        advice = (
            f"become root, or a member of the group that {setting} names in the daemon's "
            "configuration"
        )
        raise Refusal(403, ErrorAnswer(what, f"{user} may not do that", advice))
    return user


async def _body(request: Request, what: str) -> Any:
    received = b""
    async for chunk in request.stream():
        received += chunk
        if len(received) > _MOST_BYTES:
            raise refuse_body(what, f"the body has more than {_MOST_BYTES} bytes")
    try:
        return json.loads(received)
    except (ValueError, RecursionError):
        raise refuse_body(what, "the body is not JSON") from None


def _tell(refusal: Refusal) -> Response:
    return JSONResponse(as_json(refusal.answer), refusal.status)


async def _tell_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    what = f"{request.method} {request.url.path}"
    why = error.detail if isinstance(error, HTTPException) else str(error)
    return _tell(Refusal(status, ErrorAnswer(what, why, "/v1/openapi.json tells what there is")))
