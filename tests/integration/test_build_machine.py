"""The tree of a machine with systemd, and what killed runs leave of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import Slot, wait_until
from testbed.guest import REPOSITORY
from testbed.lacks import needs_root
from testbed.machine import CannotBoot, Machine
from testbed.traces import take_clean_slot, traces

pytestmark = needs_root

SCRIPT = REPOSITORY / "scripts" / "build-machine"
TESTS = REPOSITORY / "tests"
SOON = 120.0
# It comes as far as the real one does within a minute, and no further.
STUCK = """#!/bin/sh
for each; do tree=${each%/}; [ ! -d "$tree" ] || break; done
mkdir "$tree/proc"
mount -t proc proc "$tree/proc"
touch "$tree/begun"
sleep 1000
"""
BROKEN = """#!/bin/sh
echo "E: the archive cannot be reached"
exit 1
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from testbed.machine import Machine
machine = Machine(Path(sys.argv[1]), {}).__enter__()
print(machine._leader, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


class Build:
    """scripts/build-machine with a directory of its own and a debootstrap that does not work."""

    def __init__(self, directory: Path) -> None:
        self.trees = directory / "trees" / "reconvirt-machine"
        self._programs = directory / "programs"
        self._programs.mkdir()
        self.environment = {
            **os.environ,
            "RECONVIRT_MACHINES": str(directory / "trees"),
            "PATH": f"{self._programs}:{os.environ['PATH']}",
        }

    def debootstrap(self, text: str) -> None:
        program = self._programs / "debootstrap"
        program.write_text(text)
        program.chmod(0o755)

    def kill_midway(self) -> None:
        """Start it, and kill it alone once something is mounted in the tree."""
        self.debootstrap(STUCK)
        with subprocess.Popen([SCRIPT], env=self.environment) as build:
            wait_until(lambda: list(self.trees.glob("building.*/begun")), SOON, "the build")
            build.kill()

    def processes(self) -> list[str]:
        mark = f"RECONVIRT_BUILDS_IN={self.trees}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "comm").read_text())
            except OSError:
                continue
        return found


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return Build(tmp_path)


def mounts_below(directory: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [
        place for place in (line.split()[4] for line in lines) if place.startswith(f"{directory}/")
    ]


def test_the_next_build_removes_what_a_killed_one_left(build: Build) -> None:
    """Its processes, half a tree, and what an older script has mounted for everybody to see."""
    build.kill_midway()
    (left,) = build.trees.glob("building.*")
    assert "sleep\n" in build.processes()
    assert [] == mounts_below(build.trees)
    older = build.trees / "building.older"
    (older / "proc").mkdir(parents=True)
    subprocess.run(["mount", "-t", "proc", "proc", older / "proc"], check=True)
    build.debootstrap(BROKEN)
    try:
        done = subprocess.run(
            [SCRIPT], env=build.environment, capture_output=True, text=True, check=False
        )
    finally:
        subprocess.run(["umount", "--quiet", older / "proc"], check=False)

    assert 1 == done.returncode
    assert "the archive cannot be reached" in done.stderr
    assert done.stderr.endswith("build-machine: debootstrap failed\n")
    assert not left.exists()
    assert [] == list(build.trees.glob("building.*"))
    assert [] == build.processes()
    assert [] == mounts_below(build.trees)


def test_what_cannot_be_built_fails_its_tests(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the script has said; nothing is skipped."""
    build.debootstrap(BROKEN)
    for name in ("RECONVIRT_MACHINES", "PATH"):
        monkeypatch.setenv(name, build.environment[name])

    with pytest.raises(CannotBoot, match="the archive cannot be reached"):
        Machine(tmp_path, {}).__enter__()


def test_a_tree_in_use_stays(build: Build) -> None:
    """That of another version of the script, from which a machine runs."""
    used, unused = build.trees / "used", build.trees / "unused"
    for each in (used, unused):
        each.mkdir(parents=True)
    build.debootstrap(BROKEN)
    done = subprocess.run(
        ["flock", "--shared", used, SCRIPT],
        env=build.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert f"{used} is in use and stays" in done.stderr
    assert used.exists()
    assert not unused.exists()


def test_the_next_run_ends_the_machine_of_a_killed_one(tmp_path: Path) -> None:
    """systemd and all that it has started, and the control groups."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        check=False,
    )
    assert -signal.SIGKILL == killed.returncode
    slot = slot_of(int(killed.stdout))

    take_clean_slot().release()

    assert [] == traces(slot)


def slot_of(pid: int) -> Slot:
    """The slot whose mark a process has."""
    environment = Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
    (mark,) = (each for each in environment if each.startswith(b"RECONVIRT_TESTBED="))
    return Slot(int(mark.rpartition(b"/")[2]), -1)
