"""A machine with a real systemd, libvirtd and QEMU: a container that boots in seconds."""

import contextlib
import fcntl
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.groups import CpuGroup
from testbed.guest import REPOSITORY
from testbed.slots import Slot
from testbed.traces import MARK, sweep, take_clean_slot
from testbed.waiting import limit, wait_until

BOOT_SECONDS = 120.0
COMMAND_SECONDS = 180.0

# libvirt cannot make mount namespaces inside the container, and control groups of the CPU
# controller only.
_QEMU = """
cgroup_controllers = {controllers}
namespaces = []
security_driver = "none"
"""

_DEVICES = ("/dev/net/tun",)  # for network interfaces of guests


class CannotBoot(AssertionError):
    """The container cannot be built or started, which is a failure; the text says why."""


class CommandFailed(AssertionError):
    """A command in the machine failed; the text is the command and what it said."""


class Machine:
    """A Debian container of its own network and file system, gone without a trace afterwards.

    What is written in it stands in memory. Use it as a context manager. It takes a slot, so that
    the next run removes it if this one is killed.

    Attributes:
        sets_cpu_shares: whether libvirt in it can: that takes control groups.
    """

    def __init__(self, directory: Path, mounts: dict[str, Path], kind: str = "plain") -> None:
        self._directory = directory
        self._kind = kind
        self._mounts = mounts
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._slot: Slot | None = None
        self._tree = -1  # the open directory whose lock keeps it from being removed
        self.sets_cpu_shares = False

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        tree = self._build()
        self._slot = slot = take_clean_slot()
        command = [
            *("systemd-nspawn", "--quiet", "--boot", "--volatile=overlay", "--private-network"),
            *("--register=no", "--keep-unit", "--console=pipe", f"--machine=rv-{slot.number}"),
            # The container's first process outlives systemd-nspawn.
            f"--setenv={MARK}={slot.directory}",
            # As on a host, where perf may be called.
            *("--capability=CAP_PERFMON", "--system-call-filter=perf_event_open"),
            f"--directory={tree}",
            *(f"--bind={each}" for each in _DEVICES if Path(each).exists()),
            *(f"--bind-ro={source}:{target}" for target, source in self._mounts.items()),
        ]
        group = CpuGroup(slot)
        self.sets_cpu_shares = group.possible
        if self.sets_cpu_shares:
            command = group.within(command)
        log = self._directory / "machine.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, MARK: str(slot.directory)},
            )
        self._leader = wait_until(self._find_leader, BOOT_SECONDS, "the container to start")
        wait_until(self._booted, BOOT_SECONDS, f"systemd in the container, see {log}")
        if self.sets_cpu_shares:
            # systemd-nspawn shows it for reading only.
            self("mount", "-o", "remount,bind,rw", "/sys/fs/cgroup/cpu")
            # libvirt has systemd set the shares, which looks for controllers when it starts.
            self("systemctl", "daemon-reexec")
        controllers = '["cpu"]' if self.sets_cpu_shares else "[]"
        self.write("/etc/libvirt/qemu.conf", _QEMU.format(controllers=controllers))
        self("systemctl", "restart", "libvirtd")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __call__(self, *command: str | Path, status: int | None = 0, stdin: str = "") -> str:
        """What a command in the machine prints; it must end with this status, if one is given."""
        done = self._run(*map(str, command), stdin=stdin)
        if status is not None and done.returncode != status:
            raise CommandFailed(
                f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout.strip()

    def shell(self, script: str) -> str:
        """What a shell script in the machine prints."""
        return self("sh", "-euc", script)

    def write(self, path: str, text: str) -> None:
        """Write a file in the machine, at once."""
        self("sh", "-euc", 'cat > "$1.new"; mv "$1.new" "$1"', "sh", path, stdin=text)

    def stop(self) -> None:
        """End the machine and everything in it, at once."""
        if self._slot is not None:
            sweep(self._slot)  # everything in it goes with its first process
            self._slot.release()
            self._slot = None
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self._tree >= 0:
            os.close(self._tree)
            self._tree = -1

    def _build(self) -> Path:
        """Build the tree and hold it."""
        while True:
            command = (REPOSITORY / "scripts" / "build-machine", self._kind)
            built = subprocess.run(command, capture_output=True, text=True, check=False)
            if built.returncode:
                raise CannotBoot(f"the base system cannot be built: {built.stderr.strip()}")
            tree = Path(built.stdout.strip())
            with contextlib.suppress(FileNotFoundError):  # another version's build removed it
                self._tree = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(self._tree, fcntl.LOCK_SH)
                if tree.exists():
                    return tree
                os.close(self._tree)

    def _run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", "-t", str(self._leader), *["-m", "-p", "-u", "-i", "-n", "-C"], "--"]
        plain = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "COLUMNS=200"]
        return subprocess.run(
            [*inside, *plain, *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=limit(COMMAND_SECONDS),
            check=False,
        )

    def _find_leader(self) -> int:
        assert self._process is not None
        if self._process.poll() is not None:
            log = (self._directory / "machine.log").read_text(encoding="utf-8", errors="replace")
            raise CannotBoot(f"systemd-nspawn ended: {log[-500:]}")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        for child in map(int, children.split()):
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return child
        return 0

    def _booted(self) -> bool:
        state = self._run("systemctl", "is-system-running").stdout.strip()
        return state in ("running", "degraded")
