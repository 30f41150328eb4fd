"""A second private libvirt host on the same machine, to migrate to and from."""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Protocol

from testbed.host import LibvirtHost
from testbed.slots import Slot
from testbed.traces import kill


class Neighbour(Protocol):
    """What a second host must know of the first."""

    slot: Slot
    address: str

    def console_log(self, name: str) -> Path:
        """Where the console of the virtual server `name` is logged."""

    def listen(self) -> None:
        """Have its libvirtd listen for the second host."""


class SecondHost(LibvirtHost):
    """Another host in the slot of the first: with a network and a name of its own as well.

    A pair of virtual Ethernet interfaces connects the two, with an address at either end.
    Virtual servers, consoles and `images` are at the same paths on both, as with a shared file
    system; behind `local` stands another directory.
    """

    NAME = "zhost2"
    NUMBER = 2
    NAMESPACES = ("--mount", "--net", "--uts")
    DIRECTORIES = ("local",)
    # The control groups are the machine's: of one virtual server both hosts would make the same.
    QEMU_SETTINGS = ("cgroup_controllers = []",)

    def __init__(self, first: Neighbour) -> None:
        super().__init__(first.slot)
        self._first = first
        self._cable = f"{self.slot.bridge_prefix}cable"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End this host's processes; the first one's end sweeps the rest."""
        self._forget()
        kill(*(process.pid for process in self._daemons.values() if process.poll() is None))
        kill(*self.emulators())
        for process in self._daemons.values():
            process.wait()
        self._daemons.clear()

    def emulators(self) -> list[int]:
        """The QEMU processes of this host: libvirt keeps their numbers beside its sockets."""
        found = []
        for path in (self.directory / "run" / "qemu").glob("*.pid"):
            text = path.read_text(encoding="utf-8").strip()
            if text.isdecimal() and self._is_ours(path.name):
                found.append(int(text))
        return found

    def _is_ours(self, name: str) -> bool:
        return self.slot.name_prefix in name

    def console_log(self, name: str) -> Path:
        """The same file on both hosts: what a guest says goes on in it after a migration."""
        return self._first.console_log(name)

    def where(self, *command: str) -> tuple[str, ...]:
        """Inside the namespaces."""
        return self.inside(*command)

    def cut(self) -> None:
        """Take the network between the hosts away."""
        subprocess.run(["ip", "link", "set", self._cable, "down"], check=True)

    def mend(self) -> None:
        """Give the network back."""
        subprocess.run(["ip", "link", "set", self._cable, "up"], check=True)

    def bridge_like(self, name: str) -> None:
        """Make a bridge of this name here, too."""
        self._run("ip", "link", "add", name, "type", "bridge")
        self._run("ip", "link", "set", name, "up")

    def _run(self, *command: str) -> None:
        subprocess.run(self.inside(*command), check=True)

    def _place(self) -> Path:
        return self.slot.directory / "second"

    def _prepare(self) -> str:
        # A new view of /sys: the old one goes on to show the machine's interfaces.
        mounts = f"mount -t sysfs sysfs /sys && mount --bind {self.directory}/local {self.local}"
        return f"hostname {self.NAME} && {mounts} && "

    def _connect(self) -> None:
        keeper = str(self._daemons["namespace"].pid)
        ends = ("type", "veth", "peer", "name", "eth0", "netns", keeper)
        subprocess.run(["ip", "link", "add", self._cable, *ends], check=True)
        address = f"{self._first.address}/24"
        subprocess.run(["ip", "address", "add", address, "dev", self._cable], check=True)
        subprocess.run(["ip", "link", "set", self._cable, "up"], check=True)
        self._run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        for name in ("lo", "eth0"):
            self._run("ip", "link", "set", name, "up")
        self._introduce()

    def _introduce(self) -> None:
        """Let both libvirts reach each other."""
        self._first.listen()
        self.listen()
