"""The program under test, run as its users run it: a process of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed.host import LibvirtHost
from testbed.waiting import wait_until

PROGRAM = Path(sys.executable).with_name("reconvirt")
STOP_SECONDS = 30.0


class Reconvirt:
    """Runs `reconvirt` against the private host and one directory of manifests."""

    def __init__(self, host: LibvirtHost, desired: Path, directory: Path) -> None:
        self._desired = desired
        self._directory = directory
        self._program = host.where(str(PROGRAM))
        self._log = directory / "daemon.log"
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RECONVIRT_")},
            "RECONVIRT_CONNECT": host.uri,
            "RECONVIRT_DESIRED": str(desired),
            "COLUMNS": "200",
        }
        self.configure()

    @property
    def dumps(self) -> Path:
        """Where the memory of crashed guests goes."""
        return self._directory / "dumps"

    def configure(self, **settings: Any) -> None:
        """Write the configuration: nothing outside the test's own directory, and these settings."""
        self.dumps.mkdir(exist_ok=True)
        values: dict[str, Any] = {
            "state_directory": str(self._directory / "state"),
            "dump_directory": str(self.dumps),
            "socket.path": str(self._directory / "api.sock"),
            **settings,
        }
        path = self._directory / "reconvirt.toml"
        lines = (f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        path.write_text("".join(lines), encoding="utf-8")
        self._environment["RECONVIRT_CONFIG"] = str(path)

    def __call__(self, *arguments: str | Path, status: int = 0) -> str:
        """What a command prints, which must end with this status: output, or else errors."""
        done = subprocess.run(
            [*self._program, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == status, (
            f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout or done.stderr

    def json(self, *arguments: str, status: int = 0) -> Any:
        """The JSON output of a command."""
        return json.loads(self(*arguments, "-o", "json", status=status))

    def apply(self, *names: str, status: int = 0) -> Any:
        """`reconvirt apply -o json`."""
        return self.json("apply", *names, status=status)

    def plan(self, *names: str, status: int = 0) -> Any:
        """`reconvirt plan -o json`."""
        return self.json("plan", *names, status=status)

    def run(self, *arguments: str) -> "Daemon":
        """`reconvirt run`, for a with statement."""
        return Daemon([*self._program, "run", *arguments], self._environment, self._log)


class Daemon:
    """A running `reconvirt run`, and what it logs."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._command = [*command, "--log-format", "json"]
        self._environment = environment
        self._log = log
        self._begin = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, and wait until it takes signals."""
        with self._log.open("ab") as log:
            self._begin = log.tell()
            self._process = subprocess.Popen(self._command, env=self._environment, stderr=log)
        self.wait_for("started")
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        status = self.stop()
        if kind is None:
            assert status == 0, self._log.read_text()

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._process is not None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process."""
        assert self._process is not None
        return self._process

    def stop(self) -> int:
        """Ask it to end, and its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def kill(self) -> None:
        """End it as a crash would: no step is finished."""
        self.process.kill()
        self.process.wait()

    def reload(self) -> None:
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has logged since it was started."""
        whole, _, _unfinished = self._log.read_bytes()[self._begin :].rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    def logged(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines of one kind with these fields."""
        wanted = {"event": event, **fields}
        return [line for line in self.lines if wanted.items() <= line.items()]

    def wait_for(self, event: str, timeout: float = 30.0, **fields: Any) -> dict[str, Any]:
        """Wait for a line of this kind with these fields."""
        what = f"the log line {event} {fields}"
        return wait_until(lambda: self.logged(event, **fields), timeout, what)[-1]
