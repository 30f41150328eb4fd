"""Two hosts, each with the program as a daemon, that read the same manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from testbed.host import LibvirtHost, VirshError
from testbed.manifests import Desired
from testbed.program import Reconvirt
from testbed.second import SecondHost
from testbed.waiting import wait_until

MOVE_SECONDS = 120.0


class Two:
    """Two hosts with a daemon each, which read the same manifests."""

    def __init__(
        self, hosts: tuple[LibvirtHost, SecondHost], desired: Desired, directory: Path
    ) -> None:
        self.hosts = hosts
        self.desired = desired
        self.programs: list[Reconvirt] = []
        for host in hosts:
            place = directory / host.NAME
            place.mkdir()
            program = Reconvirt(host, desired.path, place)
            self.programs.append(program)
            desired.host(host)
        self.configure()
        self.daemons = [program.run("--log-level", "debug") for program in self.programs]

    def configure(self, **settings: Any) -> None:
        """Write both configurations."""
        for host, program in zip(self.hosts, self.programs, strict=True):
            program.configure(host_name=host.NAME, resync_seconds=20, **settings)

    def start(self) -> None:
        """Start both daemons."""
        for daemon in self.daemons:
            daemon.start()

    def stop(self) -> None:
        """End both, if they run."""
        for daemon in self.daemons:
            if daemon.started and daemon.process.poll() is None:
                daemon.stop()

    def state(self, number: int, name: str) -> str:
        """What virsh says of its state on one host; "" where there is none."""
        try:
            return self.hosts[number].virsh("domstate", name).strip()
        except VirshError:
            return ""

    def wait_for_move(self, name: str, number: int, state: str = "running") -> None:
        """Until it is on this host, and on no other."""

        def moved() -> bool:
            return (self.state(number, name), self.state(1 - number, name)) == (state, "")

        wait_until(moved, MOVE_SECONDS, f"{name} on {self.hosts[number].NAME} only")

    def wait_until_moving(self, name: str) -> None:
        """Until its memory is being sent from one of the hosts."""

        def moving() -> bool:
            told = "".join(self._job(host, name) for host in self.hosts)
            return "Unbounded" in told and "Outgoing" in told and "Memory remaining" in told

        wait_until(moving, MOVE_SECONDS, f"the migration of {name}")

    @staticmethod
    def _job(host: LibvirtHost, name: str) -> str:
        try:
            return host.virsh("domjobinfo", name)
        except VirshError:
            return ""
