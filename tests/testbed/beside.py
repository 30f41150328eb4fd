"""A second host for people: beside the machine's own libvirt, to try migrations with.

`scripts/second-host` runs this module. It needs root, and reconvirt to be installed and
configured on the machine.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from testbed.door import Door
from testbed.host import MOUNTS
from testbed.second import SecondHost
from testbed.slots import BEDS, MOST_SLOTS, Slot, take_slot
from testbed.traces import sweep
from testbed.waiting import NotSeen, wait_until

NUMBER = MOST_SLOTS  # a slot that no test takes
FIRST, SECOND = f"10.98.{NUMBER}.1", f"10.98.{NUMBER}.2"
SOCKET = Path("/run/libvirt/libvirt-sock")
# Where each libvirt is reached from the other host; both doors stand on the first.
DOORS = {"zhost1": (FIRST, 16509), "zhost2": ("127.0.0.1", 16510)}
SECONDS = 60.0
IMAGES = "/var/lib/libvirt/images"
CONFIGURATION = Path("/etc/reconvirt/conf.d")
SETTINGS = """\
host_name = "{name}"
state_directory = "{directory}/reconvirt/state"
lock_directory = "{directory}/reconvirt"
socket.path = "{directory}/reconvirt/reconvirt.sock"
page.port = 0
metrics.enabled = false
"""
USAGE = """\
usage: scripts/second-host              start the second host, {name}; Ctrl-C ends it
       scripts/second-host manifests    print the manifests of both hosts
       scripts/second-host COMMAND …    run a command on the second host, such as virsh list"""


class ThisMachine:
    """The first host: the machine, with the libvirt that it runs anyway, left as it is."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.address = FIRST

    def console_log(self, name: str) -> Path:
        """Where the examples log their consoles."""
        return Path(f"/var/log/libvirt/qemu/{name}-console.log")

    def listen(self) -> None:
        """It does not: a door leads to its socket."""


class Beside(SecondHost):
    """A second libvirt, and a second reconvirt with the machine's manifests.

    Neither libvirt listens in the network: doors lead to their sockets, for root, reconvirt and the
    other host, so that nobody gets in who could not before.
    """

    # Consoles are logged into the same files on both hosts, which so show that nothing was booted.
    MOUNTS: ClassVar[Mapping[str, str]] = {
        name: place for name, place in MOUNTS.items() if name != "log"
    }
    LIBVIRTD_SETTINGS = ('unix_sock_rw_perms = "0700"',)

    def __init__(self, slot: Slot) -> None:
        super().__init__(ThisMachine(slot))
        self.settings = self.directory / "reconvirt" / "reconvirt.toml"
        self.socket = self.directory / "reconvirt" / "reconvirt.sock"
        self._doors: list[Door] = []

    def start(self) -> None:
        """Start libvirt, then reconvirt.

        Raises:
            NotSeen: something does not start; the text is what was said last.
        """
        try:
            super().start()
            self._configure()
            command = self.inside("reconvirt", "run", "--config", str(self.settings))
            self._spawn("reconvirt", *command)
            wait_until(self.socket.exists, SECONDS, "reconvirt to answer")
        except NotSeen as error:
            said = "".join(
                file.read_text(encoding="utf-8") for file in self.directory.glob("*.out")
            )
            raise NotSeen(f"{error}\n{said[-2000:]}") from None
        keeper = self.directory / "keeper"
        keeper.write_text(str(self._daemons["namespace"].pid), encoding="ascii")

    def stop(self) -> None:
        """End everything of this host at once, its virtual servers as well."""
        for door in self._doors:
            door.shutdown()
            door.server_close()
        super().stop()
        sweep(self.slot)

    def watch(self) -> str:
        """Wait until one of the processes ends, and say which."""
        while True:
            _, status = os.wait()
            for name, process in self._daemons.items():
                if process.poll() is not None:
                    return f"{name} has ended with {status}"

    def _prepare(self) -> str:
        self.local.mkdir()
        return super()._prepare()

    def _introduce(self) -> None:
        users = {0} | {each.pw_uid for each in pwd.getpwall() if each.pw_name == "reconvirt"}
        own = self.directory / "run" / "libvirt-sock"
        self._doors.append(Door(DOORS["zhost1"], SOCKET, {SECOND}, users))
        self._doors.append(Door(DOORS["zhost2"], own, set(), users))

    def _is_ours(self, name: str) -> bool:
        return bool(name)

    def _configure(self) -> None:
        place = self.settings.parent
        drop_ins = place / "conf.d"
        drop_ins.mkdir(parents=True)
        self.settings.touch()
        for file in sorted(CONFIGURATION.glob("*.toml")):
            shutil.copy(file, drop_ins)
        own = SETTINGS.format(name=self.NAME, directory=self.directory)
        (drop_ins / "zz-second-host.toml").write_text(own, encoding="utf-8")


def manifests() -> str:
    """Both hosts, as they reach each other."""
    addresses = {"zhost1": FIRST, "zhost2": SECOND}
    return yaml.safe_dump_all(
        (_manifest(name, *DOORS[name], address) for name, address in addresses.items()),
        sort_keys=False,
    )


def _manifest(name: str, host: str, port: int, address: str) -> dict[str, Any]:
    return {
        "apiVersion": "reconvirt/v1",
        "kind": "Host",
        "metadata": {"name": name},
        "spec": {
            "uri": f"qemu+tcp://{host}:{port}/system",
            "migration": {"uri": f"tcp://{address}"},
            "storage": {"shared": [IMAGES]},
        },
    }


def run_inside(command: list[str]) -> None:
    """Become a command on the second host."""
    place = BEDS / str(NUMBER) / "second"
    keeper = place / "keeper"
    if not keeper.exists():
        sys.exit("second-host: it does not run; start it with scripts/second-host")
    for name in ("config", "socket"):
        file = "reconvirt.toml" if name == "config" else "reconvirt.sock"
        os.environ[f"RECONVIRT_{name.upper()}"] = str(place / "reconvirt" / file)
    target = f"--target={keeper.read_text(encoding='ascii')}"
    os.execvp("nsenter", ["nsenter", target, *Beside.NAMESPACES, "--", *command])


def keep_running() -> None:
    """Run the second host until somebody ends it."""
    slot = take_slot(NUMBER)
    if slot is None:
        sys.exit("second-host: it runs already")
    sweep(slot)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Beside(slot) as host:
            _say(f"{host.NAME} runs; its log is {host.directory}/reconvirt.out")
            sys.exit(f"second-host: {host.watch()}; see {host.directory}/*.out")
    except NotSeen as error:
        sys.exit(f"second-host: {error}")
    except KeyboardInterrupt:
        _say(f"{Beside.NAME} is gone, with what ran there")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Start it, or do something with it."""
    arguments = sys.argv[1:]
    if arguments[:1] in (["-h"], ["--help"]):
        _say(USAGE.format(name=Beside.NAME))
    elif arguments == ["manifests"]:
        _say(manifests().rstrip())
    elif os.geteuid() != 0:
        sys.exit("second-host: it needs root: namespaces and a network of its own")
    elif arguments:
        run_inside(arguments)
    else:
        keep_running()


if __name__ == "__main__":
    main()
