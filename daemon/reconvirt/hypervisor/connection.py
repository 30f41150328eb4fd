"""One connection to libvirt: the single seam through which every call goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import libvirt

from reconvirt.domain.actions import Action
from reconvirt.domain.desired import Desired
from reconvirt.domain.image_plan import ImageFacts, wanted_images
from reconvirt.domain.needs import Need, NeedKind, needs_of
from reconvirt.domain.observed import Identity, Observed
from reconvirt.domain.ownership import Marked
from reconvirt.domain.plan import Host
from reconvirt.domain.resolve import ScsiAddress, needs_resolving, resolve
from reconvirt.domain.rules import HostRules
from reconvirt.domain.totals import Size
from reconvirt.hypervisor.act import perform
from reconvirt.hypervisor.bounded_calls import BoundedCalls, bounded, check_awaited
from reconvirt.hypervisor.errors import HypervisorError, NoAnswer, VirtualServerGone, translated
from reconvirt.hypervisor.images import inspect_image
from reconvirt.hypervisor.instance import name_instance
from reconvirt.hypervisor.observe import (
    check_responding,
    identify_domain,
    observe_domain,
    read_inactive,
    read_marks,
)
from reconvirt.hypervisor.pool import Pool
from reconvirt.hypervisor.presence import LIBVIRTS, inactive, missing_here
from reconvirt.hypervisor.storage_reads import (
    XML_SECONDS,
    active_xml,
    block_jobs,
    list_active,
    volume_path,
)
from reconvirt.hypervisor.storage_use import ActiveDomain, StorageUse, read_chains
from reconvirt.hypervisor.zfcp import LunNotFound, resolve_lun

_WATCH_SECONDS = 30.0
_BULK_SECONDS = 5.0
_BULK_ATTEMPTS = 4
_SHUT_OFF = -1  # instead of a number
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


Result = TypeVar("Result")


class Hypervisor:
    """libvirt, observed and acted on; what is done is counted.

    All methods may be called from any thread; libvirt's calls release the interpreter. Each call
    has a connection for itself.

    Args:
        uri: such as ``qemu:///system``.
        bound: seconds after which a call that has not come back is left behind
            (:class:`~reconvirt.hypervisor.errors.NoAnswer`); None for no limit, where the caller
            can be left behind itself.
        keepalive: seconds between two signs of life, and how many may be missed.

    Raises:
        HypervisorError: every method, as :mod:`reconvirt.hypervisor.errors` tells.
    """

    def __init__(
        self, uri: str, *, bound: float | None = None, keepalive: tuple[int, int] = (5, 3)
    ) -> None:
        self.uri = uri
        self.bound = bound
        self._lock = threading.Lock()
        self._reading = self._writing = 0
        self._storage = StorageUse(self.is_local, self._volume_path)
        self._bounded = BoundedCalls()
        # One that hangs is asked once, and holds up no start of another.
        self._asking = BoundedCalls(most_stuck=1)
        self._pool = Pool(uri, keepalive=keepalive)

    @contextmanager
    def _call(self, what: str, subject: str = "") -> Iterator[libvirt.virConnect]:
        """A connection for calls inside the block; nothing of it may be used afterwards."""
        with self._pool.channel() as channel, channel.call(what, subject) as connection:
            yield connection

    def within(self, seconds: float, work: Callable[[], Result]) -> Result:
        """Do something that comes back in time.

        Raises:
            NoAnswer: it has not.
        """
        return self._bounded.run(work, seconds, what=f"libvirt at {self.uri}")

    @property
    def calls(self) -> Calls:
        """The calls made so far."""
        return Calls(self._reading, self._writing)

    def read(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Make a call that changes nothing."""
        check_awaited()
        with self._lock:
            self._reading += 1
        return call(*arguments)

    def write(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Make a call that changes something."""
        # What nobody waits for any more must not go on changing things.
        check_awaited()
        with self._lock:
            self._writing += 1
        return call(*arguments)

    @bounded()
    def observe(self, name: str, uuid: str | None = None) -> Observed | None:
        """One virtual server as it is now; None if libvirt has none of this name.

        Args:
            name: its name.
            uuid: by which it is found if it has another name.
        """
        return self.observe_now(name, uuid)

    def observe_now(self, name: str, uuid: str | None = None) -> Observed | None:
        """The same without a time limit."""
        with self._call("observe", name) as connection:
            lookups = [(connection.lookupByName, name)]
            if uuid is not None:
                lookups.append((connection.lookupByUUIDString, uuid))
            for lookup, key in lookups:
                try:
                    with translated():
                        domain = self.read(lookup, key)
                        check_responding(domain, self.read)
                        return observe_domain(domain, self.read)
                except VirtualServerGone:
                    continue
        return None

    @bounded()
    def list_all(self) -> dict[str, str]:
        """The uuids of all virtual servers, by name, in one call."""
        with self._call("listAllDomains") as connection:
            listed = self.read(connection.listAllDomains)
            return {domain.name(): domain.UUIDString() for domain in listed}

    def names_by_uuid(self) -> dict[str, str]:
        """The names of all virtual servers, by uuid; one call."""
        return {uuid: name for name, uuid in self.list_all().items()}

    @bounded()
    def marks(self) -> dict[str, Marked]:
        """All virtual servers that carry a mark, by name."""
        with self._call("marks") as connection:
            return read_marks(connection, self.read)

    def glance(self) -> dict[str, tuple[Any, ...]]:
        """State and number of vCPUs of all virtual servers, by name, for comparing by ``==``.

        One call, which waits for no virtual server, however busy (``NOWAIT``).
        """
        groups = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_VCPU
        return {
            name: tuple(map(stats.get, _AT_A_GLANCE))
            for name, _number, stats in self._statistics(groups)
        }

    def sizes(self) -> dict[str, Taken]:
        """How much of the host each virtual server has, by name.

        One call, which waits for no virtual server, however busy (``NOWAIT``).
        """
        groups = libvirt.VIR_DOMAIN_STATS_VCPU | libvirt.VIR_DOMAIN_STATS_BALLOON
        return {
            name: Taken(
                Size(int(stats.get("vcpu.maximum", 0)), int(stats.get("balloon.maximum", 0))),
                number != _SHUT_OFF,
            )
            for name, number, stats in self._statistics(groups)
        }

    def _statistics(self, groups: int) -> list[tuple[str, int, Mapping[str, Any]]]:
        """Name, number and statistics of all virtual servers.

        The call hangs in a QEMU that hangs, unless another call does so already. Then the next one
        (``NOWAIT``) leaves that virtual server out: the others need not wait for it.

        Raises:
            NoAnswer: several have hung.
        """

        def work() -> list[tuple[str, int, Mapping[str, Any]]]:
            nowait = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
            with self._call("getAllDomainStats") as connection:
                listed = self.read(connection.getAllDomainStats, groups, nowait)
                return [(domain.name(), domain.ID(), stats) for domain, stats in listed]

        for _ in range(_BULK_ATTEMPTS - 1):
            try:
                return self.within(_BULK_SECONDS, work)
            except NoAnswer:
                continue
        return self.within(_BULK_SECONDS, work)

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
        with self._call("capabilities") as connection:
            return name_instance(connection, self.read)

    @property
    def is_local(self) -> bool:
        """Whether libvirt runs on this host, and sees the files that we see."""
        parts = urlsplit(self.uri)
        return not parts.hostname and "+ssh" not in parts.scheme

    @bounded()
    def identify(self, uuid: str, name: str) -> tuple[Identity, ...]:
        """The domains of this uuid or this name: none, one, or two that are not the same."""
        found: dict[str, Identity] = {}
        with self._call("identify", name) as connection:
            for lookup, key in (
                (connection.lookupByUUIDString, uuid),
                (connection.lookupByName, name),
            ):
                try:
                    with translated():
                        identity = identify_domain(self.read(lookup, key), self.read)
                except VirtualServerGone:
                    continue
                found[identity.uuid] = identity
        return tuple(found.values())

    @bounded()
    def read_config(self, uuid: str) -> str:
        """The inactive XML of a domain, as :meth:`observe` has it; "" if there is none."""
        try:
            with self._call("read_config", uuid) as connection:
                domain = self.read(connection.lookupByUUIDString, uuid)
                return read_inactive(domain, self.read)
        except VirtualServerGone:
            return ""

    @bounded()
    def storage_conflicts(self, uuid: str, xml: str, *, claim: bool = False) -> tuple[str, ...]:
        """What else uses the storage that a domain is about to open, a sentence each.

        Args:
            uuid: the domain's.
            xml: the domain's, or that of a device that is to be attached.
            claim: whether it is opened directly afterwards, up to :meth:`release_storage`.
        """

        def list_all() -> list[ActiveDomain]:
            with self._call("storage_conflicts", uuid) as connection:
                return list_active(connection, self.read)

        return self._storage.conflicts(uuid, xml, list_all, self._active_xml, claim=claim)

    def release_storage(self, uuid: str) -> None:
        """What a domain was to open is open, or has failed to be."""
        self._storage.release(uuid)

    def _active_xml(self, domain: ActiveDomain) -> str | None:
        """The XML of one that runs; None if it has ended, or does not answer in time."""

        def read() -> str:
            with self._call("active_xml", domain.name) as connection:
                return active_xml(connection, domain.uuid, self.read)

        try:
            return self._asking.run(read, XML_SECONDS, key=domain.uuid, what=domain.name)
        except (NoAnswer, VirtualServerGone):
            return None

    @bounded()
    def block_jobs(self, uuid: str) -> tuple[str, ...]:
        """The disks of a domain, by target.dev, that a block job works on."""
        try:
            with self._call("block_jobs", uuid) as connection:
                return block_jobs(connection, uuid, self.read)
        except VirtualServerGone:
            return ()

    def _volume_path(self, volume: str) -> str:
        try:
            with self._call("volume", volume) as connection:
                return volume_path(connection, volume, self.read)
        except HypervisorError:
            return ""

    def missing(self, needs: Iterable[Need]) -> tuple[Need, ...]:
        """Those of the things that virtual servers need that are not there."""
        wanted = set(needs)
        # Without a connection: a file system that hangs would keep it.
        found = set(missing_here(wanted)) if self.is_local else set()
        asked = any(each.kind in LIBVIRTS for each in wanted)
        return tuple(sorted(found | (self._inactive(wanted) if asked else set())))

    @bounded()
    def _inactive(self, needs: Iterable[Need]) -> set[Need]:
        with self._call("list-active") as connection:
            return set(inactive(needs, connection, self.read))

    def missing_sources(self, xml: str) -> tuple[str, ...]:
        """What a domain would need of this host to be started, and is not there, in words."""
        # Its configuration names the overlays alone: the images below stand in their headers.
        below = (Need(NeedKind.FILE, each) for each in self._storage.images_below(xml))
        return tuple(f"no {each}" for each in self.missing({*needs_of(xml), *below}))

    @bounded()
    def act(self, uuid: str, action: Action) -> None:
        """Do one thing to a domain; only :class:`reconvirt.controller.guard.Guard` may call it."""
        with self._call(action.verb, uuid) as connection:
            perform(connection, uuid, action, read=self.read, write=self.write)

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
        self.within(_WATCH_SECONDS, lambda: self._pool.watch(on_event, on_close))

    def alive(self) -> bool:
        """Whether the connection still works."""
        return self._pool.alive

    def close(self) -> None:
        """Take no more calls; the connections end when the calls inside them have come back."""
        self._pool.close()


def _find_lun(device: str, wwpn: str, lun: str) -> ScsiAddress | str:
    try:
        return resolve_lun(device, wwpn, lun)
    except LunNotFound as error:
        return str(error)
