"""One writer: who has a lock, and what another one is answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconvirt.controller.config import Config
from reconvirt.controller.process_lock import (
    Holder,
    LockFailed,
    ProcessLock,
    SoleWriter,
    Taken,
    holder_of,
    libvirt_lock,
    state_lock,
)

_TAKE = """
import sys, time
from pathlib import Path
from reconvirt.controller.process_lock import Holder, ProcessLock
import os
lock = ProcessLock(Path(sys.argv[1]), "it")
lock.take(Holder(sys.argv[2], os.getpid(), "today", "/state", "/socket"))
print("taken", flush=True)
time.sleep(600)
"""


class Other:
    """Another process, which has a lock."""

    def __init__(self, path: Path, command: str = "run") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE, str(path), command], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert b"taken\n" == self.process.stdout.readline()

    def end(self) -> None:
        """As a crash would."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "daemon.lock"


@pytest.fixture
def other(path: Path) -> Iterator[Other]:
    process = Other(path)
    yield process
    process.end()


def test_the_first_has_it_until_its_end(path: Path, other: Other) -> None:
    """Who it is, and what to do, is said; its file alone locks nothing."""
    lock = ProcessLock(path, "the state directory /state")

    with pytest.raises(Taken) as taken:
        lock.take(Holder("run"))
    text = str(taken.value)
    assert f"the state directory /state is in use by the daemon (pid {other.process.pid}" in text
    assert "since today): stop it first ('systemctl stop reconvirtd'" in text
    found = lock.holder()
    assert found is not None
    assert (True, "/state", "/socket") == (found.is_daemon, found.state_directory, found.socket)

    other.end()
    assert lock.holder() is None
    lock.take(Holder("apply", os.getpid()))
    assert os.getpid() == json.loads(path.read_text())["pid"]
    lock.release()


def test_a_command_ends_by_itself(path: Path) -> None:
    """So one only has to wait."""
    other = Other(path, "apply")
    try:
        with pytest.raises(Taken, match=r"'reconvirt apply' \(pid \d+, .*\): wait for its end"):
            ProcessLock(path, "libvirt").take(Holder("run"))
    finally:
        other.end()


def test_whoever_only_looks_is_not_in_the_way(path: Path) -> None:
    """It has the lock for a moment; a daemon that starts just then waits for that."""
    looking = ProcessLock(path, "it")
    assert looking.holder() is None
    assert not path.exists()
    looking.take(Holder("run"))
    assert looking.holder() is None, "it is our own"
    looking.release()


def test_a_file_that_was_removed_locks_nothing(path: Path) -> None:
    """systemd removes a service's directory; the next file is another one."""
    first, second = ProcessLock(path, "it"), ProcessLock(path, "it")
    first.take(Holder("run", 1))
    path.unlink()
    second.take(Holder("run", 2))

    assert 2 == json.loads(path.read_text())["pid"]
    first.release()
    with pytest.raises(Taken):
        ProcessLock(path, "it").take(Holder("run", 3))
    second.release()


def test_where_nothing_can_be_made(tmp_path: Path) -> None:
    """What to do is said, and nobody is let through."""
    (tmp_path / "file").write_text("")

    with pytest.raises(LockFailed, match="see to its rights, or state lock_directory"):
        ProcessLock(tmp_path / "file" / "daemon.lock", "it").take(Holder("run"))


def test_a_lock_for_each_libvirt(tmp_path: Path) -> None:
    """Beside the one for the state directory; a daemon that is led elsewhere takes another."""
    config = Config(
        lock_directory=tmp_path / "run", state_directory=tmp_path / "state", connect="qemu:///x"
    )
    writer = SoleWriter(config)
    writer.admit("a")
    writer.admit("a")
    writer.admit("")

    second = SoleWriter(replace(config, state_directory=tmp_path / "other"))
    second.admit("b")
    with pytest.raises(Taken, match="libvirt at qemu:///x is in use by the daemon"):
        second.admit("a")
    writer.admit("c")
    second.admit("a")

    assert tmp_path / "run" / "libvirt-a.lock" == libvirt_lock(config, "a").path
    assert tmp_path / "state" / "daemon.lock" == state_lock(config).path


def test_who_has_no_rights_to_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that is there counts all the same; else the user's own directory is taken."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "user"))
    (tmp_path / "run").mkdir()
    config = Config(lock_directory=tmp_path / "run", state_directory=tmp_path / "state")
    (tmp_path / "run" / "libvirt-a.lock").touch()
    monkeypatch.setattr(
        os, "access", lambda path, mode: (mode == os.R_OK and path.exists()) or "user" in str(path)
    )

    assert tmp_path / "run" / "libvirt-a.lock" == libvirt_lock(config, "a").path
    (tmp_path / "user").mkdir()
    assert tmp_path / "user" / "reconvirt" / "libvirt-b.lock" == libvirt_lock(config, "b").path
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert tmp_path / "state" / "libvirt-b.lock" == libvirt_lock(config, "b").path


def test_what_is_written_down(tmp_path: Path) -> None:
    """Others must find state and socket."""
    holder = holder_of(Config(state_directory=tmp_path), "run")

    assert (os.getpid(), str(tmp_path)) == (holder.pid, holder.state_directory)
    assert holder.is_daemon
    assert not holder_of(Config(), "apply").is_daemon


def test_a_lock_whose_file_was_removed_is_taken_again(path: Path) -> None:
    """A file without a name keeps nobody out; where another one was faster, that one has it."""
    ours = ProcessLock(path, "it")
    ours.take(Holder("run", 1))
    path.unlink()

    ours.renew(Holder("run", 2))

    assert 2 == json.loads(path.read_text())["pid"]
    with pytest.raises(Taken):
        ProcessLock(path, "it").take(Holder("apply", 3))
    path.unlink()
    other = Other(path)
    with pytest.raises(Taken):
        ours.renew(Holder("run", 2))
    other.end()
    ours.release()
