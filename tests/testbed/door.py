"""A TCP port that leads to a unix socket, for those only who could use the socket as well."""

import contextlib
import socket
import threading
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

PIECE = 1 << 16
CONNECTIONS = Path("/proc/net/tcp")


class Door(ThreadingTCPServer):
    """libvirt reaches other hosts by TCP only; this takes it to a socket of this machine.

    Let in are `guests`, addresses that none but root can have, and processes of this machine whose
    user is in `users`.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, address: tuple[str, int], leads_to: Path, guests: set[str], users: set[int]
    ) -> None:
        super().__init__(address, _Passage)
        self.leads_to = leads_to
        self._guests = guests
        self._users = users
        threading.Thread(target=self.serve_forever, name="door", daemon=True).start()

    def verify_request(self, _request: Any, client_address: Any) -> bool:
        """Whether a connection is taken."""
        host, port = client_address
        return host in self._guests or _user(host, port) in self._users


class _Passage(BaseRequestHandler):
    server: Door

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as inside:
            inside.connect(str(self.server.leads_to))
            back = threading.Thread(target=_pass_on, args=(inside, self.request), daemon=True)
            back.start()
            _pass_on(self.request, inside)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either end may go at any time
        while piece := source.recv(PIECE):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        source.shutdown(socket.SHUT_RD)


def _user(host: str, port: int) -> int:
    """Whose socket is at this address of this machine, as the kernel says; -1 if nobody's."""
    wanted = f"{socket.inet_aton(host)[::-1].hex().upper()}:{port:04X}"
    for line in CONNECTIONS.read_text(encoding="ascii").splitlines()[1:]:
        _, local, _, _, _, _, _, user, *_ = line.split()
        if local == wanted:
            return int(user)
    return -1
