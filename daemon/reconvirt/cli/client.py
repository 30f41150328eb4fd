"""The daemon's local interface, as commands use it: HTTP over its unix socket.

Python's own HTTP client is enough for that, and no proxy of the environment is asked.
"""

from __future__ import annotations

import grp
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from reconvirt.cli.failure import Failure

_SECONDS = 60.0
"""How long an answer may take; a stream that has nothing to tell says so more often than that."""


class NoDaemon(Failure):
    """Nobody listens at the socket."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("reconvirt", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Client:
    """What the daemon at one socket can be asked.

    Raises:
        NoDaemon: nobody listens there.
        Failure: every method, if the daemon refuses or does not answer; the text says what to do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, path: str, **query: object) -> Any:
        """The answer to a question.

        Args:
            path: below ``/v1/``.
            query: its parameters; None leaves one out.
        """
        return self._ask("GET", path, query=query)

    def send(self, method: str, path: str, body: object = None) -> Any:
        """The answer to a wish."""
        return self._ask(method, path, body=body)

    def stream(self, path: str, **query: object) -> Iterator[Any]:
        """What the daemon tells as it happens, until it ends.

        Raises:
            Failure: the daemon has ended.
        """
        connection, response = self._request("GET", path, query=query)
        try:
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(error) from error
        finally:
            connection.close()
        raise Failure(f"the daemon at {self._path} has ended; is it being restarted?")

    def _ask(self, method: str, path: str, **rest: Any) -> Any:
        connection, response = self._request(method, path, **rest)
        try:
            return json.load(response)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._failure(error) from error
        finally:
            connection.close()

    def _request(
        self, method: str, path: str, query: dict[str, object] | None = None, body: object = None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        stated = {name: value for name, value in (query or {}).items() if value is not None}
        target = f"/v1/{path}" + (f"?{urlencode(stated)}" if stated else "")
        connection = _Connection(self._path)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, target, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            refused = response.status >= http.client.BAD_REQUEST
            refusal = _refusal(json.load(response)) if refused else None
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            raise self._failure(error) from error
        if refusal is not None:
            connection.close()
            raise refusal
        return connection, response

    def _failure(self, error: Exception) -> Failure:
        path = self._path
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return NoDaemon(
                f"no daemon listens at {path}\n"
                "Is it running ('systemctl status reconvirtd'), and is that its socket? "
                "--socket names another."
            )
        if isinstance(error, PermissionError):
            return Failure(
                f"you may not use {path}\n"
                f"Become root{_group_advice(path)}; the daemon's setting socket.read_group names "
                "the group."
            )
        return Failure(
            f"the daemon at {path} does not answer as it should: {error or type(error).__name__}\n"
            "Its log tells more ('journalctl -u reconvirtd')."
        )


def one(name: str, part: str = "") -> str:
    """The path of a virtual server, or of a part of what is known of it."""
    path = f"virtual-servers/{quote(name, safe='')}"
    return f"{path}/{part}" if part else path


def _refusal(answer: Any) -> Failure:
    try:
        return Failure(f"{answer['what']}: {answer['why']}\n{_sentence(answer['do'])}")
    except (KeyError, TypeError):
        return Failure(f"the daemon refuses: {answer}")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _group_advice(path: Path) -> str:
    try:
        group = grp.getgrgid(path.stat().st_gid).gr_name
    except (OSError, KeyError):
        return " or a member of its group"
    return "" if group == "root" else f" or a member of the group {group}"
