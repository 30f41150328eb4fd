"""The program under test, run as its users run it: a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed.host import LibvirtHost
from testbed.ports import free_port
from testbed.waiting import limit, wait_until

PROGRAM = Path(sys.executable).with_name("reconvirt")
STOP_SECONDS = 30.0
COMMAND_SECONDS = 180.0

# What the tests' manifests ask for: files of the bed, loop devices, and whatever can be plugged.
_ADMISSION = """
[admission]
enforce = true
disk_roots = ["{bed}", "{tmp}", "/dev"]
boot_roots = ["{bed}"]
log_roots = ["{bed}"]
dump_roots = ["{tmp}", "/var/lib/libvirt/qemu/dump"]
socket_roots = ["{bed}", "/run", "/var/lib/libvirt"]
host_devices = ["*"]
trust_writable = true
"""


class Reconvirt:
    """Runs `reconvirt` against the private host and one directory of manifests.

    The daemon has its socket in the host's directory, where other users can reach it, and the
    page at a free port.
    """

    def __init__(self, host: LibvirtHost, desired: Path, directory: Path) -> None:
        self.socket = host.directory / "api.sock"
        self.page_url = f"http://127.0.0.1:{free_port()}/"
        self.dumps = directory / "dumps"
        self.dumps.mkdir()
        self._locks = host.directory / "locks"
        self._directory = directory
        self.state = directory / "state"
        self._settings = directory / "reconvirt.toml"
        self._desired = desired
        self._program = host.where(str(PROGRAM))
        self._log = directory / "daemon.log"
        drop_ins = directory / "conf.d"
        drop_ins.mkdir(exist_ok=True)
        self._admission = drop_ins / "admission.toml"
        text = _ADMISSION.format(bed=host.slot.directory, tmp=directory)
        self._admission.write_text(text, encoding="utf-8")
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RECONVIRT_")},
            "RECONVIRT_CONNECT": host.uri,
            "RECONVIRT_DESIRED": str(desired),
            "RECONVIRT_CONFIG": str(self._settings),
            "RECONVIRT_SOCKET": str(self.socket),
            "RECONVIRT_PAGE_PORT": self.page_url.rstrip("/").rpartition(":")[2],
            "COLUMNS": "400",
        }
        self.configure()

    def configure(self, **settings: Any) -> None:
        """Write the settings: nothing outside the test's own directory, and these besides.

        One of a section is named ``section__setting``.
        """
        values: dict[str, Any] = {
            "state_directory": str(self.state),
            "lock_directory": str(self._locks),
            "dump_directory": str(self.dumps),
            # The first call for statistics makes a new libvirtd run each emulator, for some
            # seconds, and definitions wait for that.
            "metrics__enabled": False,
            # Tests of pruning do not wait a minute for each.
            "prune_grace_seconds": 1,
            **settings,
        }
        lines = (
            f"{name.replace('__', '.')} = {json.dumps(value)}\n" for name, value in values.items()
        )
        self._settings.write_text("".join(lines), encoding="utf-8")

    def read_from(self, desired: Path) -> None:
        """Read the manifests in another directory from now on."""
        self._environment["RECONVIRT_DESIRED"] = str(desired)

    def admit_everything(self) -> None:
        """Let manifests name paths of other hosts, which need not be here."""
        self._admission.write_text("[admission]\nenforce = false\n", encoding="utf-8")

    def follow(self, *arguments: str) -> "Following":
        """A command that goes on, for a with statement."""
        return Following([str(PROGRAM), *arguments], self._environment)

    def __call__(self, *arguments: str | Path, status: int = 0) -> str:
        """What a command prints, which must end with this status: output, or else errors."""
        done = subprocess.run(
            [*self._program, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=limit(COMMAND_SECONDS),
            check=False,
        )
        assert done.returncode == status, (
            f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout or done.stderr

    def command(self, *arguments: str) -> list[str]:
        """A command, for those that start it themselves, in :attr:`environment`."""
        return [*self._program, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of all commands."""
        return dict(self._environment)

    def exit_code(self, *arguments: str) -> int:
        """How a command ends; below 0 if a signal ended it."""
        return subprocess.run(
            [*self._program, *arguments],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=300,
            check=False,
        ).returncode

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


class Following:
    """A command that prints as things happen."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command = command
        self._environment = environment
        self.text = ""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def wait_for(self, pattern: str, timeout: float = 60.0) -> re.Match[str]:
        """Wait until what was printed has this in it."""

        def look() -> re.Match[str] | None:
            assert self.process.stdout is not None
            piece = self.process.stdout.read()
            self.text += piece.decode() if piece else ""
            return re.search(pattern, self.text, re.MULTILINE)

        found = wait_until(look, timeout, f"/{pattern}/ to be printed")
        assert found is not None
        return found


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
        try:
            self.wait_for("started")
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
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
            return self.process.wait(limit(STOP_SECONDS))
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
    def text(self) -> str:
        """All that it has written since it was started."""
        return self._log.read_bytes()[self._begin :].decode()

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
