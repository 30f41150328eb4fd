"""Connections of the host that a virtual server leaves, and of the one that it goes to.

Each migration has connections of its own: the long call would keep others waiting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import libvirt

from reconvirt.domain.actions import Action
from reconvirt.domain.migration import (
    CopiedImage,
    Destination,
    Order,
    Progress,
    Question,
    ask_about,
    target_of,
)
from reconvirt.domain.migration_actions import Migrate
from reconvirt.domain.migration_policy import USUAL_MIGRATION, MigrationPolicy
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.peers import HostAnswer, HostIdentity
from reconvirt.domain.xmltree import parse_xml
from reconvirt.hypervisor import copies, migrate, peer
from reconvirt.hypervisor.act import perform
from reconvirt.hypervisor.bounded_calls import CALL_SECONDS, bounded
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.reach import port_problem
from reconvirt.hypervisor.states import name_state

_INSPECT_SECONDS = 60.0  # several calls, one of which may read the headers of many images
_IMAGE_SECONDS = 600.0  # for storage to be allocated, or to be given back


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

    def act(self, uuid: str, action: Action) -> None:
        """Do one thing to a domain; only :class:`reconvirt.controller.guard.Guard` may call it.

        A migration takes as long as it takes: its policy bounds it, and it is watched. So it must
        never come under a time limit for calls.
        """
        if not isinstance(action, Migrate):
            super().act(uuid, action)
            return
        with self._call(action.verb, uuid) as connection:
            perform(connection, uuid, action, read=self.read, write=self.write)

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

    @bounded()
    def progress(self, name: str) -> Progress | None:
        """How far the migration away from here is; None if none runs."""
        with self._domain(name, "progress") as domain:
            found: Progress | None = self.read(migrate.read_progress, domain)
            return found

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
    def identity(self) -> HostIdentity:
        """Which host this is."""
        with self._call("identity") as connection:
            found: HostIdentity = self.read(peer.identity, connection)
            return found

    @bounded()
    def definition(self, uuid: str) -> str:
        """The configuration of a virtual server as a migration sends it; "" if there is none."""
        with self._call("definition", uuid) as connection:
            return str(self.read(peer.definition, connection, uuid))

    def census(self, *, marks: bool = False) -> HostAnswer:
        """Name, state and reason of all virtual servers, by uuid, in one call.

        Args:
            marks: whether it is read which of them carry what was last applied: a call each.
        """
        ours = frozenset(each.uuid for each in self.marks().values()) if marks else None
        return HostAnswer(self._states(), self.identity(), ours)

    @bounded()
    def _states(self) -> dict[str, tuple[str, State, str]]:
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
    def make_image(self, image: CopiedImage, size_bytes: int, token: str) -> bool:
        """Make an image for a copy, with this token in it; False if something is there."""
        with self._call("make_image") as connection:
            return bool(self.write(copies.make_image, connection, image, size_bytes, token))

    @bounded(_IMAGE_SECONDS)
    def clear_raw_token(self, path: str, token: str) -> None:
        """Take the token out of a raw image that data is about to be copied into."""
        with self._call("clear_raw_token") as connection:
            self.write(copies.clear_raw_token, connection, path, token)

    @bounded(_IMAGE_SECONDS)
    def remove_image(self, path: str, token: str) -> str:
        """Remove an image that was made for a copy with this token; why not, "" if it is gone."""
        with self._call("remove_image") as connection:
            return str(self.write(copies.remove_image, connection, path, token))

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

    @contextlib.contextmanager
    def _domain(self, name: str, what: str) -> Iterator[Any]:
        with self._call(what, name) as connection:
            yield self.read(connection.lookupByName, name)
