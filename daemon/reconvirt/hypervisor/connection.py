"""One connection to libvirt: the single seam through which every call goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import libvirt

from reconvirt.domain.actions import Action
from reconvirt.domain.desired import Desired
from reconvirt.domain.disk_uses import disk_names, opens_for_writing
from reconvirt.domain.image_plan import ImageFacts, wanted_images
from reconvirt.domain.mark import NAMESPACE, read_mark
from reconvirt.domain.needs import Need, needs_of
from reconvirt.domain.observed import Identity, Observed
from reconvirt.domain.ownership import Marked
from reconvirt.domain.plan import Host
from reconvirt.domain.resolve import ScsiAddress, needs_resolving, resolve
from reconvirt.domain.rules import HostRules
from reconvirt.domain.totals import Size
from reconvirt.domain.xmltree import parse_xml
from reconvirt.hypervisor.act import perform
from reconvirt.hypervisor.errors import VirtualServerGone, translated
from reconvirt.hypervisor.events import open_connection, subscribe
from reconvirt.hypervisor.images import inspect_image
from reconvirt.hypervisor.instance import name_instance
from reconvirt.hypervisor.observe import identify_domain, observe_domain, read_inactive
from reconvirt.hypervisor.presence import missing
from reconvirt.hypervisor.storage_use import ActiveDomain, StorageUse, read_chains
from reconvirt.hypervisor.zfcp import LunNotFound, resolve_lun

_KEEPALIVE_SECONDS = 5
_KEEPALIVE_MISSES = 3
_SHUT_OFF = -1  # instead of a number
_ACTIVE = libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
_AT_A_GLANCE = ("state.state", "state.reason", "vcpu.current", "vcpu.maximum")


@dataclass(frozen=True, slots=True)
class Taken:
    """How much of the host a virtual server has.

    Attributes:
        size: what it has, or would have if it ran.
        active: whether it has it now.
    """

    size: Size
    active: bool


@dataclass(frozen=True, slots=True)
class Calls:
    """How many calls were made to libvirt."""

    reading: int
    writing: int


class Hypervisor:
    """A connection to libvirt that observes and acts, and counts what it does.

    All methods may be called from any thread; libvirt's calls release the interpreter.

    Raises:
        HypervisorError: every method, as :mod:`reconvirt.hypervisor.errors` tells.
    """

    def __init__(self, uri: str) -> None:
        """Connect to ``uri``, such as ``qemu:///system``."""
        self.uri = uri
        self._lock = threading.Lock()
        self._reading = self._writing = 0
        self._storage = StorageUse(self.is_local, self._volume_path)
        with translated():
            self._connection = open_connection(uri)

    @property
    def calls(self) -> Calls:
        """The calls made so far."""
        return Calls(self._reading, self._writing)

    def read(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Make a call that changes nothing."""
        with self._lock:
            self._reading += 1
        return call(*arguments)

    def write(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Make a call that changes something."""
        with self._lock:
            self._writing += 1
        return call(*arguments)

    def observe(self, name: str, uuid: str | None = None) -> Observed | None:
        """One virtual server as it is now; None if libvirt has none of this name.

        Args:
            name: its name.
            uuid: by which it is found if it has another name.
        """
        lookups = [(self._connection.lookupByName, name)]
        if uuid is not None:
            lookups.append((self._connection.lookupByUUIDString, uuid))
        for lookup, key in lookups:
            try:
                with translated():
                    return observe_domain(self.read(lookup, key), self.read)
            except VirtualServerGone:
                continue
        return None

    def observe_all(self) -> dict[str, Observed]:
        """All virtual servers as they are now, by name."""
        with translated():
            domains = self.read(self._connection.listAllDomains)
        observed: dict[str, Observed] = {}
        for domain in domains:
            try:
                with translated():
                    observed[domain.name()] = observe_domain(domain, self.read)
            except VirtualServerGone:
                continue
        return observed

    def names_by_uuid(self) -> dict[str, str]:
        """The names of all virtual servers, by uuid; one call."""
        with translated():
            domains = self.read(self._connection.listAllDomains)
            return {domain.UUIDString(): domain.name() for domain in domains}

    def marks(self) -> dict[str, Marked]:
        """All virtual servers that carry a mark, by name."""
        with translated():
            domains = self.read(self._connection.listAllDomains)
        marks: dict[str, Marked] = {}
        for domain in domains:
            try:
                with translated():
                    xml = self.read(domain.XMLDesc, libvirt.VIR_DOMAIN_XML_INACTIVE)
            except VirtualServerGone:
                continue
            mark = read_mark(parse_xml(xml)) if NAMESPACE in xml else None
            if mark is not None:
                active = domain.ID() != _SHUT_OFF
                marks[domain.name()] = Marked(domain.UUIDString(), mark, active)
        return marks

    def glance(self) -> dict[str, tuple[Any, ...]]:
        """State and number of vCPUs of all virtual servers, by name, for comparing by ``==``.

        One call, which waits for no virtual server, however busy (``NOWAIT``).
        """
        groups = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_VCPU
        nowait = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        with translated():
            listed = self.read(self._connection.getAllDomainStats, groups, nowait)
        return {domain.name(): tuple(map(stats.get, _AT_A_GLANCE)) for domain, stats in listed}

    def sizes(self) -> dict[str, Taken]:
        """How much of the host each virtual server has, by name.

        One call, which waits for no virtual server, however busy (``NOWAIT``).
        """
        groups = libvirt.VIR_DOMAIN_STATS_VCPU | libvirt.VIR_DOMAIN_STATS_BALLOON
        nowait = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        with translated():
            listed = self.read(self._connection.getAllDomainStats, groups, nowait)
        return {
            domain.name(): Taken(
                Size(int(stats.get("vcpu.maximum", 0)), int(stats.get("balloon.maximum", 0))),
                domain.ID() != _SHUT_OFF,
            )
            for domain, stats in listed
        }

    def look_around(self, desired: Desired, rules: HostRules) -> tuple[Desired, Host]:
        """What the plan for a virtual server must know of the host besides it.

        Args:
            desired: what is wanted.
            rules: what the host's configuration allows.

        Returns:
            What is wanted, with devices looked up that are named by what is stable; and the host.
        """
        if needs_resolving(desired):
            desired = resolve(desired, _find_lun)
        images: dict[str, ImageFacts | None] = {}
        with translated():
            for path, form in wanted_images(desired).items():
                images[path] = (
                    inspect_image(path, form)
                    if self.is_local
                    else ImageFacts(path, None, None, f"it is on the host of {self.uri}")
                )
        chains = read_chains if self.is_local else lambda _disks: {}
        return desired, Host(rules, images, chains=chains, in_use=self.storage_conflicts)

    def instance(self) -> str:
        """What tells this libvirt from others; "" where no other process can reach it."""
        with translated():
            return name_instance(self._connection, self.read)

    @property
    def is_local(self) -> bool:
        """Whether libvirt runs on this host, and sees the files that we see."""
        parts = urlsplit(self.uri)
        return not parts.hostname and "+ssh" not in parts.scheme

    def identify(self, uuid: str, name: str) -> tuple[Identity, ...]:
        """The domains of this uuid or this name: none, one, or two that are not the same."""
        found: dict[str, Identity] = {}
        for lookup, key in (
            (self._connection.lookupByUUIDString, uuid),
            (self._connection.lookupByName, name),
        ):
            try:
                with translated():
                    identity = identify_domain(self.read(lookup, key), self.read)
            except VirtualServerGone:
                continue
            found[identity.uuid] = identity
        return tuple(found.values())

    def read_config(self, uuid: str) -> str:
        """The inactive XML of a domain, as :meth:`observe` has it; "" if there is none."""
        try:
            with translated():
                domain = self.read(self._connection.lookupByUUIDString, uuid)
                return read_inactive(domain, self.read)
        except VirtualServerGone:
            return ""

    def storage_conflicts(self, uuid: str, xml: str) -> tuple[str, ...]:
        """What else uses the storage that a domain is about to open, a sentence each.

        Args:
            uuid: the domain's.
            xml: the domain's, or that of a device that is to be attached.
        """
        if not opens_for_writing(xml):
            return ()
        with translated():
            domains = self.read(self._connection.listAllDomains, _ACTIVE)
            active = {domain.UUIDString(): domain for domain in domains}

        def read_xml(one: ActiveDomain) -> str | None:
            try:
                with translated():
                    return str(self.read(active[one.uuid].XMLDesc))
            except VirtualServerGone:
                return None

        listed = [ActiveDomain(key, each.name(), each.ID()) for key, each in active.items()]
        return self._storage.conflicts(uuid, xml, listed, read_xml)

    def block_jobs(self, uuid: str) -> tuple[str, ...]:
        """The disks, by target.dev, that a block job works on.

        libvirt writes a ``<mirror>`` for a copy and an active commit, and nothing for others.
        """
        try:
            with translated():
                domain = self.read(self._connection.lookupByUUIDString, uuid)
                if not self.read(domain.isActive):
                    return ()
                names = disk_names(self.read(domain.XMLDesc))
                return tuple(each for each in names if self.read(domain.blockJobInfo, each))
        except VirtualServerGone:
            return ()

    def _volume_path(self, volume: str) -> str:
        pool, _, name = volume.partition("/")
        try:
            found = self.read(self._connection.storagePoolLookupByName, pool)
            return str(self.read(self.read(found.storageVolLookupByName, name).path))
        except libvirt.libvirtError:
            return ""

    def missing(self, needs: Iterable[Need]) -> tuple[Need, ...]:
        """Those of the things that virtual servers need that are not there."""
        with translated():
            return missing(needs, self._connection, self.read, is_local=self.is_local)

    def missing_sources(self, xml: str) -> tuple[str, ...]:
        """What a domain would need of this host to be started, and is not there, in words."""
        return tuple(f"no {each}" for each in self.missing(needs_of(xml)))

    def act(self, uuid: str, action: Action) -> None:
        """Do one thing to a domain; only :class:`reconvirt.controller.guard.Guard` may call it."""
        with translated():
            perform(self._connection, uuid, action, read=self.read, write=self.write)

    def watch(
        self, on_event: Callable[[str, str, str], None], on_close: Callable[[str], None]
    ) -> None:
        """Call back for every event of a virtual server, and when the connection is lost.

        The callbacks run on libvirt's event thread and must not call libvirt.

        Args:
            on_event: gets the virtual server's name, the kind of event and, if it is about a
                device, the device's alias.
            on_close: gets the reason.
        """
        with translated():
            subscribe(self._connection, on_event, on_close)
            try:
                self._connection.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_MISSES)
            except libvirt.libvirtError:
                return  # drivers inside this process (embed, test) have no transport to keep alive

    def alive(self) -> bool:
        """Whether the connection still works."""
        try:
            return bool(self._connection.isAlive())
        except libvirt.libvirtError:
            return False

    def close(self) -> None:
        """End the connection; calls after it fail."""
        try:
            self._connection.close()
        except libvirt.libvirtError:
            return  # it was lost already


def _find_lun(device: str, wwpn: str, lun: str) -> ScsiAddress | str:
    try:
        return resolve_lun(device, wwpn, lun)
    except LunNotFound as error:
        return str(error)
