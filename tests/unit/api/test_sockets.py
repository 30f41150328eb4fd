"""The socket in the file system: whose it is, and what happens to an old one."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from reconvirt.api.sockets import Taken, UnixListener, listen_on_loopback

HOLD_SOCKET = """
import sys, time
from pathlib import Path
from reconvirt.api.sockets import UnixListener
listener = UnixListener(Path(sys.argv[1]), None)
print("listening", flush=True)
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "api.sock"


def connects(path: Path) -> bool:
    """Whether somebody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def test_it_is_for_owner_and_group_only(path: Path) -> None:
    """From the moment it is there; the folder is made."""
    listener = UnixListener(path, os.getgid())

    found = path.stat()
    assert connects(path)
    assert (0o660, os.getgid()) == (stat.S_IMODE(found.st_mode), found.st_gid)
    listener.close()
    assert not path.exists()


def test_the_socket_of_a_killed_process_is_replaced(path: Path) -> None:
    """But not while it lives."""
    path.parent.mkdir()
    command = [sys.executable, "-c", HOLD_SOCKET, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "listening\n" == process.stdout.readline()
        with pytest.raises(Taken, match="another reconvirt listens there"):
            UnixListener(path, None)
        assert connects(path)
        process.kill()
    assert path.is_socket()
    assert not connects(path)

    listener = UnixListener(path, None)

    assert connects(path)
    listener.close()


def test_the_socket_of_another_program_is_left_alone(path: Path) -> None:
    """Which has no lock."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(Taken, match="another process listens there"):
            UnixListener(path, None)
        assert connects(path)


def test_a_file_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("precious")

    with pytest.raises(Taken, match="it is there, and is no socket"):
        UnixListener(path, None)
    assert "precious" == path.read_text()


def test_a_socket_that_was_replaced_is_not_taken_away(path: Path) -> None:
    """By somebody who knew better."""
    listener = UnixListener(path, None)
    path.unlink()
    path.write_text("new")
    listener.close()

    assert "new" == path.read_text()


def test_a_path_that_the_kernel_would_cut_short(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="at most 103 bytes"):
        UnixListener(tmp_path / ("x" * 110), None)


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::", "localhost"])
def test_the_page_is_for_this_host_only(address: str) -> None:
    """Whatever the configuration says."""
    with pytest.raises(ValueError, match=address):
        listen_on_loopback(address, 0)
