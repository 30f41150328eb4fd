"""What another host says of itself and of the virtual servers that it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconvirt.domain.observed import State


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """Which host answers at a URI.

    The uuid alone does not prove it: machines whose firmware has none, or that were cloned, share
    one. libvirt refuses to migrate between those.

    Attributes:
        uuid: libvirt's host uuid (``<host><uuid>`` of its capabilities); "" if it is not known.
        hostname: the host's own name, as libvirt has it.
    """

    uuid: str = ""
    hostname: str = ""

    def is_same(self, other: HostIdentity) -> bool:
        """Whether both are one host for sure; False while one of them is not known."""
        return bool(self.uuid and self.hostname) and self == other

    def is_other(self, other: HostIdentity) -> bool:
        """Whether they are two hosts for sure.

        One alone proves nothing: libvirt makes up a new uuid at each start where firmware has none,
        and a host may be renamed.
        """
        known = self.uuid and self.hostname and other.uuid and other.hostname
        return bool(known) and self.uuid != other.uuid and self.hostname != other.hostname


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What a host has answered.

    Attributes:
        servers: name, state and reason of each of its virtual servers, by uuid.
        identity: which host it is.
        ours: the uuids of those that carry what was last applied; None if it was not asked.
    """

    servers: Mapping[str, tuple[str, State, str]] = field(default_factory=dict)
    identity: HostIdentity = field(default_factory=HostIdentity)
    ours: frozenset[str] | None = None
