"""etcd (version 3) through its JSON gateway: the few calls that claims need.

Keys and values travel in base64. Each call asks the endpoints in turn until one answers; nothing
is asked for a moment after none has, so that nobody waits for what is known to be away.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from reconvirt.controller.config.claims import EtcdSettings

_SECONDS = 3.0
_PAUSE = 5.0
_UNAUTHORIZED = 401
_GRPC_UNAUTHENTICATED = 16


class EtcdDown(Exception):
    """etcd cannot be asked, or does not let us; the text is for people."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's value.

    Attributes:
        value: the text.
        revision: of its last change; it grows with each, and so tells who came last.
    """

    value: str
    revision: int


class Etcd:
    """A client; any thread may use it.

    Args:
        settings: where etcd is, and how it knows us.

    Raises:
        EtcdDown: every method.
    """

    def __init__(self, settings: EtcdSettings) -> None:
        self._settings = settings
        self._context: ssl.SSLContext | None = None
        self._token = ""
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._trouble = ""

    def get(self, key: str) -> Entry | None:
        """The value of a key; None if there is none."""
        return _entry(self._call("kv/range", {"key": _encode(key)}))

    def put_if(self, key: str, value: str, revision: int) -> Entry | None:
        """Write a key if it was not changed since this revision; 0: if there is none.

        Returns:
            What stands there afterwards: the new value, or the one that somebody else has written.
        """
        name = _encode(key)
        condition = {
            "key": name,
            "result": "EQUAL",
            "target": "MOD",
            "mod_revision": str(revision),
        }
        read = {"request_range": {"key": name}}
        put = {"request_put": {"key": name, "value": _encode(value)}}
        found = self._call(
            "kv/txn", {"compare": [condition], "success": [put, read], "failure": [read]}
        )
        return _entry(found["responses"][-1]["response_range"])

    def grant(self, seconds: int) -> int:
        """A lease of so many seconds."""
        return int(self._call("lease/grant", {"TTL": str(seconds)})["ID"])

    def put_leased(self, key: str, value: str, lease: int) -> None:
        """Write a key that goes when its lease ends."""
        self._call("kv/put", {"key": _encode(key), "value": _encode(value), "lease": str(lease)})

    def keep_alive(self, lease: int) -> bool:
        """Have a lease last anew; False if it has ended."""
        result = self._call("lease/keepalive", {"ID": str(lease)}).get("result", {})
        return int(result.get("TTL", "0")) > 0

    def _call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            if time.monotonic() < self._not_before:
                raise EtcdDown(self._trouble)
            troubles = []
            for endpoint in self._settings.endpoints:
                try:
                    return self._ask(endpoint, path, body)
                except (OSError, http.client.HTTPException, ValueError) as error:
                    troubles.append(f"{endpoint}: {error or type(error).__name__}")
            self._not_before = time.monotonic() + _PAUSE
            self._trouble = "; ".join(troubles)
            raise EtcdDown(self._trouble)

    def _ask(self, endpoint: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if self._settings.username and not self._token:
            self._token = self._log_in(endpoint)
        status, found = self._post(endpoint, path, body)
        if self._token and (status == _UNAUTHORIZED or found.get("code") == _GRPC_UNAUTHENTICATED):
            self._token = self._log_in(endpoint)  # tokens end after a while
            status, found = self._post(endpoint, path, body)
        if status != http.HTTPStatus.OK:
            raise ValueError(str(found.get("message") or found.get("error") or f"HTTP {status}"))
        return found

    def _log_in(self, endpoint: str) -> str:
        settings = self._settings
        password = ""
        if settings.password_file is not None:
            password = settings.password_file.read_text(encoding="utf-8").strip()
        self._token = ""
        body = {"name": settings.username, "password": password}
        status, found = self._post(endpoint, "auth/authenticate", body)
        if status != http.HTTPStatus.OK:
            raise ValueError(str(found.get("message") or found.get("error") or "not let in"))
        return str(found["token"])

    def _post(
        self, endpoint: str, path: str, body: Mapping[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "localhost", parts.port or 2379
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = self._tls()
            connection = http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = self._token
        try:
            connection.request("POST", f"/v3/{path}", json.dumps(body), headers)
            answer = connection.getresponse()
            # A stream of answers, as of a lease, is one JSON document a line.
            first = answer.readline() if path == "lease/keepalive" else answer.read()
            return answer.status, json.loads(first)
        finally:
            connection.close()

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            settings = self._settings
            context = ssl.create_default_context(cafile=settings.ca and str(settings.ca))
            if settings.certificate is not None:
                context.load_cert_chain(settings.certificate, settings.key)
            self._context = context
        return self._context


def _entry(found: Mapping[str, Any]) -> Entry | None:
    listed = found.get("kvs", ())
    if not listed:
        return None
    value = base64.b64decode(listed[0].get("value", "")).decode()
    return Entry(value, int(listed[0]["mod_revision"]))


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
