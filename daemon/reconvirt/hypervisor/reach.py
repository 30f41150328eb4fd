"""Whether memory can be sent to another host: what can be told before QEMU listens there.

QEMU at the destination listens only when a migration begins, at the first free port of libvirt's
range. Its last port is asked: a host that refuses it is reached, and its firewall lets it through.
A port at which QEMU may listen by now is never asked: it would take us for the source.
"""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 5.0
_NO_NAME = (socket.EAI_NONAME, socket.EAI_NODATA)


def port_problem(migrate_uri: str, port_max: int) -> str:
    """Why memory cannot be sent there; "" if it can, or that cannot be told.

    Args:
        migrate_uri: where it is to be sent to, such as ``tcp://10.0.0.2``.
        port_max: the last one that libvirt uses there.
    """
    parts = urlsplit(migrate_uri)
    host = parts.hostname or ""
    try:
        stated = parts.port
    except ValueError:
        return f"{migrate_uri} states no port that there can be"
    try:
        found = socket.getaddrinfo(host, stated or port_max, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        if isinstance(error, socket.gaierror) and error.errno not in _NO_NAME:
            return ""  # nobody can be asked now, or not by this service
        return f"the name {host} is not known here"
    # Somebody else's memory may be arriving at a port that is stated: only the way there is tried.
    kind = socket.SOCK_STREAM if stated is None else socket.SOCK_DGRAM
    what = f"port {port_max} of {host}" if stated is None else host
    problems = (_try(family, kind, address, what) for family, *_, address in found)
    # QEMU tries one address after the other as well.
    first = next(problems)
    return first and next((each for each in problems if not each), first)


def _try(family: int, kind: int, address: Any, what: str) -> str:
    try:
        with socket.socket(family, kind) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(address)
    except (ConnectionRefusedError, PermissionError):
        # It is reached; or this service may not use that network, as libvirt and QEMU may.
        return ""
    except TimeoutError:
        return f"{what} does not answer"
    except OSError as error:
        return f"{what} cannot be reached: {error.strerror}"
    return ""
