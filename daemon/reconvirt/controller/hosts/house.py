"""This host among the others: inventory, claims and migrations tied together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from reconvirt.controller.config import Config
from reconvirt.controller.history import History
from reconvirt.controller.hosts.census import Census
from reconvirt.controller.hosts.claims import Claims, FencedHosts, InventoryClaims
from reconvirt.controller.hosts.copies import Copies
from reconvirt.controller.hosts.dependencies import Afar
from reconvirt.controller.hosts.etcd import Etcd
from reconvirt.controller.hosts.etcd_claims import EtcdClaims
from reconvirt.controller.hosts.journeys import Journeys
from reconvirt.controller.hosts.migrations import Migrations
from reconvirt.controller.hosts.placement import Placement
from reconvirt.domain.migration import Progress
from reconvirt.domain.placing import Inventory
from reconvirt.hypervisor.supervision import THREADS, Beat
from reconvirt.manifest.host import HostManifest


class House:
    """This host and what it knows of the others.

    Args:
        config: names this host.
        wake: called with the name of a virtual server of which there is something new.
        on_progress: told how far each migration is.
        history: told what happens.
    """

    def __init__(
        self,
        config: Config,
        wake: Callable[[str], None],
        on_progress: Callable[[str, Progress | None], None],
        history: History,
    ) -> None:
        self._inventory = Inventory(config.own_host)
        self.fenced = FencedHosts(config.state_directory)
        self.census = Census(lambda: self._inventory.others, wake)
        self.afar = Afar(lambda: self._inventory, wake)
        self.migrations = Migrations(
            config.connect,
            lambda: self._inventory,
            wake,
            on_progress,
            history,
            Copies(config.state_directory),
            Journeys(config.state_directory),
        )
        asking = InventoryClaims(self.census, self.fenced.names, self.fenced.release)
        claims: Claims = asking
        self._stop = threading.Event()
        self._lease_seconds = config.etcd.lease_seconds
        self._etcd: EtcdClaims | None = None
        if config.claims == "etcd":
            client = Etcd(config.etcd)
            prefix, own = config.etcd.prefix, config.own_host
            claims = self._etcd = EtcdClaims(client, prefix, own, asking, self.fenced.names)
        self.placement = Placement(lambda: self._inventory, claims, self.migrations)

    def start(self) -> None:
        """Let others hear of this host, where claims are kept in etcd."""
        if self._etcd is not None:
            etcd, beat, seconds = self._etcd, Beat(), self._lease_seconds
            THREADS.start(
                "etcd-lease", lambda: etcd.beat(self._stop, seconds, beat), self._stop, beat=beat
            )

    def stop(self) -> None:
        """End watching migrations; libvirt's daemons carry on what they have begun."""
        self._stop.set()
        self.migrations.stop()

    @property
    def inventory(self) -> Inventory:
        """This host and the others."""
        return self._inventory

    def take(self, hosts: Mapping[str, HostManifest]) -> bool:
        """Take over the hosts of new manifests; whether they are others than before."""
        before, self._inventory = self._inventory, Inventory(self._inventory.own, hosts)
        return before != self._inventory
