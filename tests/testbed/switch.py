"""Open vSwitch in user space, for one host of the test bed."""

import fcntl
import subprocess
from collections.abc import Callable
from pathlib import Path

from testbed.slots import BEDS, Slot
from testbed.waiting import limit, wait_until

START_SECONDS = 30.0
ANSWER_SECONDS = 30

# The interface that each ovs-vswitchd makes for all its bridges in user space.
COMMON_INTERFACE = "ovs-netdev"


class SwitchError(RuntimeError):
    """An ovs-vsctl command failed; the message is the command and what ovs-vsctl said."""


class SwitchTakenError(RuntimeError):
    """The machine runs Open vSwitch in user space already, which leaves no room for ours."""


class Switch:
    """A database and a switch, both started when the first bridge is asked for.

    They run in the host's mount namespace, where libvirt finds their socket at the usual
    place; the interfaces of bridges are the machine's. The test bed ends the two as it ends
    libvirtd, and removes the interfaces, which outlive a switch that is killed.
    """

    def __init__(self, slot: Slot, spawn_inside: Callable[..., None]) -> None:
        self._slot = slot
        self._spawn_inside = spawn_inside
        self._directory = slot.directory / "switch"
        self._started = False

    def add_bridge(self, name: str) -> None:
        """Make a bridge in user space and set its interface up."""
        if not self._started:
            self._start()
        add = ("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev")
        with (BEDS / "switch.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            renamed = f"{self._slot.bridge_prefix}dp"
            first = not Path("/sys/class/net", renamed).exists()
            if first and Path("/sys/class/net", COMMON_INTERFACE).exists():
                raise SwitchTakenError(f"another Open vSwitch has the interface {COMMON_INTERFACE}")
            self.ovs(*add)
            if first:  # make room for the switches of other hosts; ours does not mind
                rename = ["ip", "link", "set", COMMON_INTERFACE, "name", renamed]
                subprocess.run(rename, check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)

    def ovs(self, *arguments: str) -> str:
        """Run ovs-vsctl and return what it printed, without the last newline."""
        database = f"--db=unix:{self._directory}/db.sock"
        done = subprocess.run(
            ["ovs-vsctl", database, f"--timeout={limit(ANSWER_SECONDS):.0f}", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SwitchError(f"ovs-vsctl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.rstrip("\n")

    def _start(self) -> None:
        database = self._directory / "conf.db"
        subprocess.run(["ovsdb-tool", "create", database], check=True)
        socket = self._directory / "db.sock"
        remote = f"--remote=punix:{socket}"
        self._spawn_inside("ovsdb-server", remote, "--pidfile", str(database))
        wait_until(socket.exists, START_SECONDS, "the switch's database")
        self.ovs("--no-wait", "init")
        self._spawn_inside("ovs-vswitchd", "--pidfile")
        self._started = True
