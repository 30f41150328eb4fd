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
from reconvirt.domain.peers import HostAnswer, HostIdentity
from reconvirt.domain.xmltree import parse_xml
from reconvirt.hypervisor import copies, migrate, peer
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import translated
from reconvirt.hypervisor.reach import port_problem
from reconvirt.hypervisor.states import name_state


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
    """A connection to one of the two hosts of a migration, which notices when it breaks."""

    def __init__(self, uri: str, policy: MigrationPolicy = USUAL_MIGRATION) -> None:
        """Connect to ``uri``, with the keepalive of a policy (``virsh -k``, ``-K``)."""
        super().__init__(uri)
        with contextlib.suppress(libvirt.libvirtError):
            self._connection.setKeepAlive(policy.keepalive_interval, policy.keepalive_count)

    # The source

    def with_hindrances(self, observed: Observed) -> Observed:
        """The same, with what its XML does not tell: block jobs and snapshots.

        libvirt writes a ``<mirror>`` for a copy and an active commit, and nothing for others.
        """
        disks = parse_xml(observed.live).iterfind("devices/disk") if observed.live else ()
        with self._domain(observed.name) as domain:
            jobs = tuple(
                name for each in disks if self.read(domain.blockJobInfo, name := target_of(each))
            )
            snapshots = int(self.read(domain.snapshotNum))
        return replace(observed, block_jobs=jobs, snapshots=snapshots)

    def progress(self, name: str) -> Progress | None:
        """How far the migration away from here is; None if none runs."""
        with self._domain(name) as domain:
            found: Progress | None = self.read(migrate.read_progress, domain)
            return found

    def abort_migration(self, name: str) -> None:
        """End a migration; the virtual server goes on here."""
        with self._domain(name) as domain:
            self.write(migrate.abort, domain)

    # The destination

    def inspect(self, question: Question) -> Destination:
        """What this host says about a virtual server that is to come."""
        with translated():
            found: Destination = self.read(peer.inspect, self._connection, question)
            return found

    def find(self, uuid: str) -> tuple[State, str] | None:
        """State and reason of a virtual server; None where there is none."""
        with translated():
            found: tuple[State, str] | None = self.read(peer.find, self._connection, uuid)
            return found

    def identity(self) -> HostIdentity:
        """Which host this is."""
        with translated():
            found: HostIdentity = self.read(peer.identity, self._connection)
            return found

    def definition(self, uuid: str) -> str:
        """The configuration of a virtual server as a migration sends it; "" if there is none."""
        with translated():
            return str(self.read(peer.definition, self._connection, uuid))

    def census(self, *, marks: bool = False) -> HostAnswer:
        """Name, state and reason of all virtual servers, by uuid, in one call.

        Args:
            marks: whether it is read which of them carry what was last applied: a call each.
        """
        ours = frozenset(each.uuid for each in self.marks().values()) if marks else None
        return HostAnswer(self._states(), self.identity(), ours)

    def _states(self) -> dict[str, tuple[str, State, str]]:
        groups = libvirt.VIR_DOMAIN_STATS_STATE
        nowait = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        with translated():
            listed = self.read(self._connection.getAllDomainStats, groups, nowait)
        return {
            domain.UUIDString(): (
                domain.name(),
                *name_state(stats.get("state.state", 0), stats.get("state.reason", 0)),
            )
            for domain, stats in listed
        }

    def image_is_there(self, path: str) -> bool:
        """Whether something stands at a path of this host."""
        with translated():
            return bool(self.write(copies.image_is_there, self._connection, path))

    def image_sizes(self, paths: tuple[str, ...]) -> dict[str, int]:
        """How large a guest sees image files of this host; without those that are not there."""
        with translated():
            found: dict[str, int] = self.write(copies.image_sizes, self._connection, paths)
            return found

    def make_image(self, image: CopiedImage, size_bytes: int, token: str) -> bool:
        """Make an image for a copy, with this token in it; False if something stands there."""
        with translated():
            return bool(self.write(copies.make_image, self._connection, image, size_bytes, token))

    def clear_raw_token(self, path: str, token: str) -> None:
        """Take the token out of a raw image that data is about to be copied into."""
        with translated():
            self.write(copies.clear_raw_token, self._connection, path, token)

    def remove_image(self, path: str, token: str) -> str:
        """Remove an image that was made for a copy with this token; why not, "" if it is gone."""
        with translated():
            return str(self.write(copies.remove_image, self._connection, path, token))

    def completed(self, name: str) -> Progress | None:
        """What a migration to here came to; None if libvirt does not know it."""
        with self._domain(name) as domain:
            found: Progress | None = self.read(migrate.read_completed, domain)
            return found

    # Either

    def disk_size(self, name: str, target: str) -> int:
        """How large its guest sees a disk, in bytes."""
        with self._domain(name) as domain:
            return int(self.read(domain.blockInfo, target)[0])

    @contextlib.contextmanager
    def _domain(self, name: str) -> Iterator[Any]:
        with translated():
            yield self.read(self._connection.lookupByName, name)
