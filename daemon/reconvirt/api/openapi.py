"""The OpenAPI description of the interface, printed from the table of endpoints.

``schemas/reconvirt-api-v1.openapi.json`` is this module's output; a test holds that they agree.
"""

from __future__ import annotations

from typing import Any

from reconvirt.api.answers import ErrorAnswer
from reconvirt.api.endpoints import ENDPOINTS, EVENT_TYPES, Endpoint
from reconvirt.api.wire import schema_of

_DESCRIPTION = (
    "The daemon's local interface: HTTP over a unix socket, by default "
    "/run/reconvirt/reconvirt.sock. Who asks is known from the kernel. The members of the group "
    "socket.read_group may read, those of socket.write_group may have something done, root and "
    "the daemon's own user always may. Within a version nothing is taken out of an answer; fields "
    "and endpoints are added, so pass over what you do not know."
)

_ERRORS = {
    "400": "The request is not as it must be",
    "403": "You may not do that",
    "404": "There is no such virtual server",
    "409": "It cannot be done as things are",
    "500": "The daemon has failed",
    "503": "libvirt cannot be reached, or too many streams are open",
}


def openapi_document() -> dict[str, Any]:
    """The description, as OpenAPI 3.1."""
    components: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for each in ENDPOINTS:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, components)
    for kind in EVENT_TYPES.values():
        schema_of(kind, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "reconvirt",
            "version": "1",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://reconvirt", "description": "over the unix socket"}],
        "paths": paths,
        "components": {"schemas": dict(sorted(components.items()))},
    }


def _operation(endpoint: Endpoint, components: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if not endpoint.streams_only:
        content["application/json"] = {"schema": schema_of(endpoint.answer, components)}
    if endpoint.stream is not None:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "responses": {"200": {"description": endpoint.summary, "content": content}},
    }
    parameters: list[dict[str, Any]] = [
        {
            "name": each.name,
            "in": "query",
            "schema": dict(each.schema),
            "description": each.description,
        }
        for each in endpoint.parameters
    ]
    if "{name}" in endpoint.path:
        name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
        parameters.insert(0, name)
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        schema = schema_of(endpoint.body, components)
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    error = {"application/json": {"schema": schema_of(ErrorAnswer, components)}}
    for status, words in _ERRORS.items():
        operation["responses"][status] = {"description": words, "content": error}
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    parts = endpoint.path.removeprefix("/v1/").replace("{name}", "one").replace("-", "/")
    words = [endpoint.method.lower(), *parts.split("/")]
    return words[0] + "".join(word.capitalize() for word in words[1:])
