"""A real etcd of one member."""

import base64
import json
import os
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

from testbed.ports import free_port
from testbed.slots import Slot
from testbed.traces import MARK
from testbed.waiting import wait_until

START_SECONDS = 60.0
FIRST_PORT = 23790  # each slot has two


class EtcdServer:
    """An etcd that tests start, kill and start again; its data stay."""

    def __init__(
        self, slot: Slot | None, directory: Path, address: str, *options: str, scheme: str = "http"
    ) -> None:
        self._mark = {MARK: str(slot.directory)} if slot else {}
        self._directory = directory
        self._options = options
        port = FIRST_PORT + 2 * slot.number if slot else free_port()
        self.url = f"{scheme}://{address}:{port}"
        self._peer = f"http://127.0.0.1:{port + 1}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._directory / "etcd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "etcd",
                    *("--data-dir", str(self._directory / "etcd"), "--name", "test"),
                    *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
                    *("--listen-peer-urls", self._peer),
                    *("--initial-advertise-peer-urls", self._peer),
                    *("--initial-cluster", f"test={self._peer}"),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, **self._mark},
            )
        answers = self._answers if self.url.startswith("http:") else self._listens
        wait_until(answers, START_SECONDS, "etcd to answer")

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def values(self, prefix: str) -> list[str]:
        """The values of all keys that begin so."""
        last = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        ends = {"key": prefix, "range_end": last}
        body = {name: base64.b64encode(key.encode()).decode() for name, key in ends.items()}
        request = urllib.request.Request(f"{self.url}/v3/kv/range", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=5) as answer:
            found = json.loads(answer.read()).get("kvs", [])
        return [base64.b64decode(each["value"]).decode() for each in found]

    def _listens(self) -> bool:
        parts = urllib.parse.urlsplit(self.url)
        with socket.socket() as tried:
            return tried.connect_ex((parts.hostname, parts.port)) == 0

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return bool(json.loads(answer.read()).get("health") == "true")
        except (OSError, ValueError):
            return False
