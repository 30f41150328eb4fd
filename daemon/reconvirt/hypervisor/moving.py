"""Connections of the host that a virtual server leaves, and of the one that it goes to.

Each migration has connections of its own: the long call would keep others waiting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import libvirt

from reconvirt.domain.migration import (
    CopiedImage,
    Destination,
    Order,
    Progress,
    Question,
    ask_about,
    target_of,
)
from reconvirt.domain.migration_policy import USUAL_MIGRATION, MigrationPolicy
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.xmltree import parse_xml
from reconvirt.hypervisor import copies, migrate, peer
from reconvirt.hypervisor.bounded_calls import CALL_SECONDS, bounded
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.reach import port_problem
from reconvirt.hypervisor.states import name_state

_INSPECT_SECONDS = 60.0  # several calls, one of which may read the headers of many images
_IMAGE_SECONDS = 600.0  # for storage to be allocated, or to be given back

_UNDEFINE = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM


def survey(here: Host, there: Host, observed: Observed, order: Order) -> Destination:
    """What both hosts say of a virtual server that is to be moved."""
    question = ask_about(observed, order)
    found = there.inspect(question)
    problem = ""
    # Where something arrives now, it could be sent; and its QEMU listens to anybody.
    if order.migrate_uri and not (order.offline or order.policy.tunnelled or found.arriving):
        problem = port_problem(order.migrate_uri, order.port_max)
    return replace(found, own_images=here.image_sizes(question.backing), port_problem=problem)


class Host(Hypervisor):
    """A connection to one of the two hosts of a migration, which notices when it breaks.

    Each call has a time limit, but the migration itself.

    Args:
        uri: such as ``qemu+ssh://host/system``.
        policy: whose keepalive holds (``virsh -k``, ``-K``).
        bound: seconds that a call may take.
    """

    def __init__(
        self,
        uri: str,
        policy: MigrationPolicy = USUAL_MIGRATION,
        bound: float | None = CALL_SECONDS,
    ) -> None:
        keepalive = (policy.keepalive_interval, policy.keepalive_count)
        super().__init__(uri, bound=bound, keepalive=keepalive)

    # The source

    @bounded()
    def with_hindrances(self, observed: Observed) -> Observed:
        """The same, with what its XML does not tell: block jobs and snapshots.

        libvirt writes a ``<mirror>`` for a copy and an active commit, and nothing for others.
        """
        disks = parse_xml(observed.live).iterfind("devices/disk") if observed.live else ()
        with self._domain(observed.name, "with_hindrances") as domain:
            jobs = tuple(
                name for each in disks if self.read(domain.blockJobInfo, name := target_of(each))
            )
            snapshots = int(self.read(domain.snapshotNum))
        return replace(observed, block_jobs=jobs, snapshots=snapshots)

    def migrate(self, name: str, order: Order) -> None:
        """Move a virtual server; returns when libvirt says how it went."""
        with self._domain(name, "migrate") as domain:
            self.write(migrate.migrate, domain, order)

    @bounded()
    def progress(self, name: str) -> Progress | None:
        """How far the migration away from here is; None if none runs."""
        with self._domain(name, "progress") as domain:
            found: Progress | None = self.read(migrate.read_progress, domain)
            return found

    @bounded()
    def set_downtime(self, name: str, milliseconds: int) -> None:
        """How long the guest may stand still at the end."""
        with self._domain(name, "set_downtime") as domain:
            self.write(migrate.set_downtime, domain, milliseconds)

    @bounded()
    def abort_migration(self, name: str) -> None:
        """End a migration; the virtual server goes on here."""
        with self._domain(name, "abort_migration") as domain:
            self.write(migrate.abort, domain)

    @bounded()
    def start_post_copy(self, name: str) -> None:
        """Have the guest go on at the destination now."""
        with self._domain(name, "start_post_copy") as domain:
            self.write(migrate.start_post_copy, domain)

    # The destination

    @bounded(_INSPECT_SECONDS)
    def inspect(self, question: Question) -> Destination:
        """What this host says about a virtual server that is to come."""
        with self._call("inspect") as connection:
            found: Destination = self.read(peer.inspect, connection, question)
            return found

    @bounded()
    def find(self, uuid: str) -> tuple[State, str] | None:
        """State and reason of a virtual server; None where there is none."""
        with self._call("find") as connection:
            found: tuple[State, str] | None = self.read(peer.find, connection, uuid)
            return found

    @bounded()
    def census(self) -> dict[str, tuple[str, State, str]]:
        """Name, state and reason of all virtual servers, by uuid, in one call."""
        groups = libvirt.VIR_DOMAIN_STATS_STATE
        nowait = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        with self._call("census") as connection:
            return {
                domain.UUIDString(): (
                    domain.name(),
                    *name_state(stats.get("state.state", 0), stats.get("state.reason", 0)),
                )
                for domain, stats in self.read(connection.getAllDomainStats, groups, nowait)
            }

    @bounded(_IMAGE_SECONDS)
    def image_is_there(self, path: str) -> bool:
        """Whether something stands at a path of this host."""
        with self._call("image_is_there") as connection:
            return bool(self.write(copies.image_is_there, connection, path))

    @bounded(_IMAGE_SECONDS)
    def image_sizes(self, paths: tuple[str, ...]) -> dict[str, int]:
        """How large a guest sees image files of this host; without those that are not there."""
        with self._call("image_sizes") as connection:
            found: dict[str, int] = self.write(copies.image_sizes, connection, paths)
            return found

    @bounded(_IMAGE_SECONDS)
    def make_image(self, image: CopiedImage, size_bytes: int) -> bool:
        """Make an image for a copy; False if something stands there already."""
        with self._call("make_image") as connection:
            return bool(self.write(copies.make_image, connection, image, size_bytes))

    @bounded(_IMAGE_SECONDS)
    def remove_image(self, path: str) -> bool:
        """Remove an image that was made for a copy; False if a virtual server has it."""
        with self._call("remove_image") as connection:
            return bool(self.write(copies.remove_image, connection, path))

    @bounded()
    def completed(self, name: str) -> Progress | None:
        """What a migration to here came to; None if libvirt does not know it."""
        with self._domain(name, "completed") as domain:
            found: Progress | None = self.read(migrate.read_completed, domain)
            return found

    # Either

    @bounded()
    def disk_size(self, name: str, target: str) -> int:
        """How large its guest sees a disk, in bytes."""
        with self._domain(name, "disk_size") as domain:
            return int(self.read(domain.blockInfo, target)[0])

    @bounded()
    def set_autostart(self, name: str, *, on: bool) -> None:
        """Have libvirt start it with this host, or not."""
        with self._domain(name, "set_autostart") as domain:
            self.write(domain.setAutostart, int(on))

    @bounded()
    def end_stale(self, uuid: str) -> None:
        """End what is left of one that runs on the other host, and remove its definition."""
        with self._call("end_stale") as connection:
            domain = self.read(connection.lookupByUUIDString, uuid)
            persistent = self.read(domain.isPersistent)
            if self.read(domain.isActive):
                self.write(domain.destroy)
            if persistent:
                self.write(domain.undefineFlags, _UNDEFINE)

    @bounded()
    def suspend(self, name: str) -> None:
        """Have one stand still, so that the rest of its memory can be sent."""
        with self._domain(name, "suspend") as domain:
            self.write(domain.suspend)

    @bounded()
    def resume(self, name: str) -> None:
        """Let one go on whose migration has failed."""
        with self._domain(name, "resume") as domain:
            self.write(domain.resume)

    @contextlib.contextmanager
    def _domain(self, name: str, what: str) -> Iterator[Any]:
        with self._call(what, name) as connection:
            yield self.read(connection.lookupByName, name)
