"""One writer on a host: locks that one process has, and that end with it however it ends.

There is one for each state directory and one for each libvirt. The kernel keeps them (``flock``);
the file itself only says who has it, so a file that a killed process has left locks nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from reconvirt.controller.config import Config

_PATIENCE_SECONDS = 2.0
"""How long a lock may still be taken: whoever only looks at it has it for a moment."""
_PAUSE_SECONDS = 0.05
_DAEMON_LOCK = "daemon.lock"


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that has a lock, as it has written it into the file.

    Attributes:
        command: which command it runs: ``run`` is the daemon.
        pid: its process id; 0 if it has not written it yet.
        since: when it took the lock, as people read it.
        state_directory: where its state is.
        socket: where it listens.
    """

    command: str = ""
    pid: int = 0
    since: str = ""
    state_directory: str = ""
    socket: str = ""

    @property
    def is_daemon(self) -> bool:
        """Whether it is the daemon, which goes on, or a command, which ends by itself."""
        return self.command == "run"

    def __str__(self) -> str:
        who = "the daemon" if self.is_daemon else f"'reconvirt {self.command}'"
        return f"{who} (pid {self.pid}, since {self.since})" if self.pid else "another reconvirt"


class LockFailed(Exception):
    """A lock cannot be taken; the text says why, and what to do."""


class Taken(LockFailed):
    """Another process has the lock; the text says which one, and what to do.

    Attributes:
        holder: the process.
    """

    def __init__(self, what: str, path: Path, holder: Holder) -> None:
        do = f"stop it first ('systemctl stop reconvirtd', or kill {holder.pid})"
        if not holder.is_daemon:
            do = "wait for its end"
        super().__init__(f"{what} is in use by {holder}: {do}; the lock is {path}")
        self.holder = holder


class ProcessLock:
    """A lock that this process has until it ends, or :meth:`release`.

    Args:
        path: its file, in a directory that is made if it is missing.
        what: what it is for, for people.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self._what = what
        self._number: int | None = None

    def take(self, holder: Holder) -> None:
        """Take it, and write down who has it.

        Raises:
            Taken: another process has it.
            LockFailed: the file cannot be made or opened.
        """
        if self._number is not None:
            return
        try:
            number = self._wait()
        except OSError as error:
            raise LockFailed(
                f"{self._what} cannot be locked for this process alone: {self.path}: "
                f"{error.strerror}; see to its rights, or state lock_directory"
            ) from error
        self._number = number
        with contextlib.suppress(OSError):
            # One that may only be read locks as well; then its holder has no name.
            os.ftruncate(number, 0)
            os.pwrite(number, json.dumps(asdict(holder)).encode(), 0)

    def renew(self, holder: Holder) -> None:
        """Take it again if somebody has removed or replaced its file: without a name it locks none.

        Raises:
            LockFailed: it cannot be taken again; if another process has it, :class:`Taken`.
        """
        if self._number is None or self._is_named(self._number):
            return
        before, self._number = self._number, None
        try:
            self.take(holder)
        except BaseException:
            self._number = before
            raise
        os.close(before)

    def _is_named(self, number: int) -> bool:
        """Whether the file of a descriptor is the one at our path."""
        try:
            return os.path.samestat(os.fstat(number), self.path.stat())
        except FileNotFoundError:
            return False

    def _wait(self) -> int:
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        until = time.monotonic() + _PATIENCE_SECONDS
        while (number := self._try()) is None:
            if time.monotonic() >= until:
                raise Taken(self._what, self.path, _read(self.path))
            time.sleep(_PAUSE_SECONDS)
        return number

    def release(self) -> None:
        """Let others take it."""
        if self._number is not None:
            os.close(self._number)
            self._number = None

    def holder(self) -> Holder | None:
        """The other process that has it now; None if none has.

        Raises:
            OSError: the file is there and may not be read.
        """
        if self._number is not None:
            return None
        try:
            number = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(self.path)
        finally:
            os.close(number)
        return None

    def _try(self) -> int | None:
        """A descriptor that has the lock; None if another one has it."""
        try:
            number = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except PermissionError:
            # Another user's: the lock is the same for who may only read the file.
            number = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # systemd removes the directory when a service ends: a file without a name locks none.
            if self._is_named(number):
                if os.geteuid() == 0:
                    owner = self.path.parent.stat()
                    os.fchown(number, owner.st_uid, owner.st_gid)
                return number
        except BlockingIOError:
            pass
        except BaseException:
            os.close(number)
            raise
        os.close(number)
        return None


class SoleWriter:
    """The daemon as the only writer of the libvirt that it is connected to.

    Args:
        config: its configuration.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock: ProcessLock | None = None

    def admit(self, instance: str) -> None:
        """Become the only writer of the libvirt that a new connection leads to.

        Args:
            instance: what tells this libvirt from others; "" where no other process can reach it.

        Raises:
            LockFailed: another process is.
        """
        before = self._lock
        lock = libvirt_lock(self._config, instance) if instance else None
        if lock is None or (before is not None and before.path == lock.path):
            return
        lock.take(holder_of(self._config, "run"))
        self._lock = lock
        if before is not None:
            before.release()

    def renew(self) -> None:
        """See that the lock still keeps others out; called again and again.

        Raises:
            LockFailed: its file is gone, and it cannot be taken again.
        """
        if self._lock is not None:
            self._lock.renew(holder_of(self._config, "run"))


def state_lock(config: Config) -> ProcessLock:
    """The lock of the state directory, which the daemon takes."""
    directory = config.state_directory
    return ProcessLock(directory / _DAEMON_LOCK, f"the state directory {directory}")


def libvirt_lock(config: Config, instance: str) -> ProcessLock:
    """The lock of one libvirt, which everything takes that changes virtual servers.

    Args:
        config: says where locks are.
        instance: what tells this libvirt from others.
    """
    name = f"libvirt-{instance}.lock"
    for directory in _lock_directories(config):
        if os.access(directory / name, os.R_OK) or _may_write(directory):
            return ProcessLock(directory / name, f"libvirt at {config.connect}")
    return ProcessLock(config.state_directory / name, f"libvirt at {config.connect}")


def holder_of(config: Config, command: str) -> Holder:
    """This process, as others shall read it."""
    return Holder(
        command,
        os.getpid(),
        time.strftime("%Y-%m-%d %H:%M:%S"),
        str(config.state_directory.absolute()),
        str(config.socket.path),
    )


def _lock_directories(config: Config) -> list[Path]:
    """Where the lock may be; who has no rights to one directory tries the next."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return [config.lock_directory, *([Path(runtime, "reconvirt")] if runtime else [])]


def _may_write(directory: Path) -> bool:
    """Whether a file can be made in a directory, which need not be there yet."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return os.access(directory, os.W_OK | os.X_OK)


def _read(path: Path) -> Holder:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        known = {name: value[name] for name in Holder.__dataclass_fields__ if name in value}
        return Holder(**known)
    except (OSError, ValueError, TypeError):
        return Holder()
