"""This host among the others: inventory, known hosts, claims and migrations tied together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from reconvirt.controller.config import Config
from reconvirt.controller.history import History
from reconvirt.controller.hosts.abort import abort_migration
from reconvirt.controller.hosts.census import Asked, Census
from reconvirt.controller.hosts.claims import Claims, InventoryClaims
from reconvirt.controller.hosts.copies import Copies
from reconvirt.controller.hosts.dependencies import Afar
from reconvirt.controller.hosts.etcd import Etcd
from reconvirt.controller.hosts.etcd_claims import EtcdClaims
from reconvirt.controller.hosts.fences import Fences
from reconvirt.controller.hosts.known_hosts import KnownHost, KnownHosts
from reconvirt.controller.hosts.migration_journal import MigrationJournal
from reconvirt.controller.hosts.migrations import Migrations
from reconvirt.controller.hosts.placement import Placement
from reconvirt.controller.hosts.resync import HostResync
from reconvirt.controller.state_store import StateStore, Unreadable
from reconvirt.domain.desired import Desired
from reconvirt.domain.migration import Progress
from reconvirt.domain.peers import HostAnswer, HostIdentity
from reconvirt.domain.placing import Inventory
from reconvirt.hypervisor.supervision import THREADS, Beat
from reconvirt.manifest.host import HostManifest


class House:
    """This host and what it knows of the others.

    Args:
        config: names this host.
        store: keeps what must outlive the process.
        wake: called with the name of a virtual server of which there is something new.
        on_progress: told how far each migration is.
        history: told what happens.
        wanted: gives what all manifests want, by name.
        look_at_all: has every virtual server reconciled again.
    """

    def __init__(
        self,
        config: Config,
        store: StateStore,
        wake: Callable[[str], None],
        on_progress: Callable[[str, Progress | None], None],
        history: History,
        wanted: Callable[[], Mapping[str, Desired]] = dict,
        look_at_all: Callable[[], None] = lambda: None,
    ) -> None:
        self._shared = config.shares_source
        self._inventory = Inventory(config.own_host, shared=self._shared({}, known=False))
        self._history = history
        self._look_at_all = look_at_all
        self._trouble = ""
        self._lock = threading.Lock()
        self.known = KnownHosts(store, config.own_host)
        self.fences = Fences(store, self._tell)
        self.census = Census(self._others, wake, self._heard, self._counts_as_off)
        self.afar = Afar(lambda: self._inventory, wake)
        self._uri = config.connect
        self._journal = journal = MigrationJournal(store)
        self.migrations = Migrations(
            config.connect,
            lambda: self._inventory,
            wake,
            on_progress,
            history,
            Copies(store),
            journal,
        )
        asking = InventoryClaims(
            self.census, self.known.others, self.fences.covers, lambda: self.resync.own
        )
        claims: Claims = asking
        self._stop = threading.Event()
        self._resync_seconds = config.resync_seconds
        self._lease_seconds = config.etcd.lease_seconds
        self._etcd: EtcdClaims | None = None
        if config.claims == "etcd":
            client = Etcd(config.etcd)
            prefix, own = config.etcd.prefix, config.own_host
            claims = self._etcd = EtcdClaims(
                client, prefix, own, asking, self.fences, self._lease_seconds
            )
        self.placement = Placement(
            lambda: self._inventory, claims, self.migrations, self.known.others
        )
        self.resync = HostResync(
            config.connect,
            self.known,
            self.fences,
            self.census,
            journal,
            wanted,
            self._etcd.runs_here if self._etcd is not None else None,
            self._tell,
            look_at_all,
        )

    def abort_migration(self, name: str) -> None:
        """End the migration of one that leaves this host, as a person wants it.

        Raises:
            HypervisorError: libvirt cannot end it, or none runs.
            OSError: it cannot be stored that it shall not be tried again.
        """
        abort_migration(self._uri, name, self._journal)

    def start(self) -> None:
        """Ask the hosts that must be asked at each resync, and let others hear of this one."""
        hosts = Beat()
        THREADS.start("hosts", lambda: self._watch(hosts), self._stop, beat=hosts)
        if self._etcd is not None:
            etcd, beat, seconds = self._etcd, Beat(), self._lease_seconds
            THREADS.start(
                "etcd-lease", lambda: etcd.beat(self._stop, seconds, beat), self._stop, beat=beat
            )

    def stop(self) -> None:
        """End watching migrations; libvirt's daemons carry on what they have begun."""
        self._stop.set()
        self.resync.poke()
        self.migrations.stop()

    @property
    def inventory(self) -> Inventory:
        """This host and the others."""
        return self._inventory

    def take(self, hosts: Mapping[str, HostManifest]) -> bool:
        """Take over the hosts of new manifests; whether they are others than before."""
        trouble = self.known.take(hosts)
        if trouble and trouble != self._trouble:
            self._tell("HostsNotKept", f"the hosts of the manifests cannot be kept: {trouble}")
        self._trouble = trouble
        changed = self._describe(hosts)
        if changed:
            self.resync.poke()
        return changed

    def look(self) -> None:
        """Ask the hosts that must be asked at each resync, and take over what they say."""
        self.resync.run()
        if self._etcd is not None:
            self._etcd.end_fences()
        if self._describe():
            self._look_at_all()

    def _describe(self, hosts: Mapping[str, HostManifest] | None = None) -> bool:
        """Take over what is known of the hosts; whether it is something else than before.

        Args:
            hosts: those of the manifests; None for the same as before.
        """
        try:
            known = self.known.others()
        except Unreadable:
            known = (KnownHost("", ""),)  # There may be others: the careful answer.
        with self._lock:
            before = self._inventory
            hosts = before.hosts if hosts is None else hosts
            also_own = self.resync.also_own(known)
            shared = self._shared(hosts, known=bool(known))
            self._inventory = now = Inventory(before.own, hosts, shared, also_own)
        for name in also_own - before.also_own:
            self._tell(
                "HostIsThisOne",
                f"the Host manifest of {name} leads to this very libvirt, while this host is "
                f'called {before.own}: set host_name = "{name}", or correct its spec.uri',
            )
        return before != now

    def _watch(self, beat: Beat) -> None:
        while not self._stop.is_set():
            self.look()
            self.resync.wait(self._resync_seconds, beat)

    def _others(self) -> tuple[KnownHost, ...]:
        try:
            return self.known.others()
        except Unreadable:
            return ()  # Whoever has asked finds out the same, and takes no answer for one.

    def _counts_as_off(self, name: str) -> bool:
        return name in self.fences.names()

    def _heard(self, host: Asked, answer: HostAnswer, asked: float) -> None:
        if not isinstance(host, KnownHost):
            return
        self.fences.heard(host, answer.identity.uuid, asked)
        before = self.known.heard(host.uri, answer)
        if before is not None:
            self._tell("HostChanged", _changed(host, before, answer.identity))

    def _tell(self, reason: str, message: str) -> None:
        self._history.tell("", reason, message, level="warning")


def _changed(host: KnownHost, before: HostIdentity, now: HostIdentity) -> str:
    return (
        f"another libvirt answers for {host.name} at {host.uri}: {now.hostname} with host uuid "
        f"{now.uuid}, before {before.hostname} with {before.uuid}"
    )
