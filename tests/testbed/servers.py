"""Servers of git repositories, as real as they get on one machine: sshd, and git over https."""

import base64
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from testbed.ports import free_port
from testbed.waiting import limit, wait_until

_SOON = 20.0


def make_key(path: Path) -> Path:
    """A key for ssh, without a passphrase; the public one stands beside it."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


class SshServer:
    """sshd on the loopback interface, for one key, run by the user who runs the tests.

    Use it as a context manager.

    Attributes:
        known_hosts: the file with its host key.
        directory: where its own files stand.
    """

    def __init__(self, directory: Path, authorized: Path, *settings: str) -> None:
        directory.mkdir()
        self.directory = directory
        self.port = free_port()
        self._log = directory / "log"
        host_key = make_key(directory / "host_key")
        kind, key = host_key.with_suffix(".pub").read_text().split()[:2]
        self.known_hosts = directory / "known_hosts"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        shutil.copy(authorized.with_suffix(".pub"), directory / "authorized_keys")
        lines = (
            *(f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {host_key}"),
            *("UsePAM no", "StrictModes no", "PasswordAuthentication no", "PidFile none"),
            *(f"AuthorizedKeysFile {directory}/authorized_keys", "PermitRootLogin yes"),
            *settings,
        )
        self._settings = directory / "sshd_config"
        self._settings.write_text("\n".join((*lines, "")))
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, path: Path) -> str:
        """What git calls a repository of this machine that is fetched from here."""
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
        return f"ssh://{user.stdout.strip()}@127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks up what is not root
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or "/usr/sbin/sshd"
        command = [program, "-D", "-f", str(self._settings), "-E", str(self._log)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until(lambda: _listens(self.port), _SOON, f"sshd, see {self._log}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_SOON)


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that takes connections and never says anything; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    kept.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(_SOON)
            for each in kept:
                each.close()


class HttpsServer:
    """git's own program for http behind a small TLS server, with a certificate of an own authority.

    Use it as a context manager.

    Args:
        directory: for its files.
        repositories: the directory of the repositories that it serves.
        name: the name in its certificate.
        user: who may fetch, as NAME:PASSWORD; None for everybody.

    Attributes:
        ca: the certificate of the authority.
        heard: the headers ``Authorization`` that it got.
    """

    def __init__(
        self,
        directory: Path,
        repositories: Path,
        name: str = "IP:127.0.0.1",
        user: str | None = None,
    ) -> None:
        directory.mkdir()
        self.ca = directory / "ca.pem"
        self.heard: list[str] = []
        certificate, key = _make_certificate(directory, self.ca, name)
        self._server = _QuietServer(("127.0.0.1", 0), _handler(repositories, user, self.heard))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        """Where the repositories are."""
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_SOON)


class _QuietServer(http.server.ThreadingHTTPServer):
    """Says nothing of clients that do not like its certificate."""

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


def _handler(
    repositories: Path, user: str | None, heard: list[str]
) -> type[http.server.BaseHTTPRequestHandler]:
    wanted = f"Basic {base64.b64encode((user or '').encode()).decode()}"

    class Handler(http.server.BaseHTTPRequestHandler):
        """Hands a request to git http-backend, which speaks CGI."""

        timeout = _SOON

        def do_GET(self) -> None:
            said = self.headers.get("Authorization", "")
            if said:
                heard.append(said)
            if user is not None and said != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="manifests"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._run()

        do_POST = do_GET  # noqa: N815 - likewise

        def _run(self) -> None:
            path, _, query = self.path.partition("?")
            length = int(self.headers.get("Content-Length", 0))
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": os.environ.get("HOME", "/"),
                "GIT_PROJECT_ROOT": str(repositories),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(length),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            }
            done = subprocess.run(
                ["git", "http-backend"],
                env=environment,
                input=self.rfile.read(length),
                capture_output=True,
                timeout=limit(120),
                check=False,
            )
            head, _, body = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing among the tests' output."""

    return Handler


def _make_certificate(directory: Path, ca: Path, name: str) -> tuple[Path, Path]:
    """An authority, and a certificate and key that it has made for a name."""
    ca_key, key = directory / "ca.key", directory / "server.key"
    request, certificate = directory / "server.csr", directory / "server.pem"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    extension = directory / "extension"
    extension.write_text(f"subjectAltName={name}\n")
    for command in (
        ["req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-subj", "/CN=tests"],
        ["req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=server"],
        [
            *("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial"),
            *("-out", certificate, "-extfile", extension),
        ],
    ):
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    return certificate, key


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
