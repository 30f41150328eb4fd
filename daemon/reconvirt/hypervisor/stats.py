"""Statistics of all virtual servers in one call, and what that call lacks, one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import libvirt

from reconvirt.domain.observed import State
from reconvirt.hypervisor.channel import open_connection
from reconvirt.hypervisor.states import name_state

_INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
_LIVE, _CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG

Values = Mapping[str, Any]
"""libvirt's numbers and texts by its own names for them, such as ``block.0.rd.reqs``."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One virtual server as the bulk statistics have it.

    Attributes:
        name: its name.
        uuid: dashed, lower case.
        domain_id: the number of the running one; None where it does not run.
        state: its state.
        reason: libvirt's reason for the state, by virsh's words.
        values: the statistics.
    """

    name: str
    uuid: str
    domain_id: int | None
    state: State
    reason: str
    values: Values

    @property
    def complete(self) -> bool:
        """Whether QEMU was asked.

        Where another job holds the virtual server, or QEMU hangs, libvirt leaves out what only
        QEMU knows. The size of QEMU's memory is not such a thing, but comes only with it (seen
        with libvirt 9.0), whatever devices there are.
        """
        return self.domain_id is None or "balloon.rss" in self.values


@dataclass(frozen=True, slots=True)
class Description:
    """What the statistics lack of one virtual server.

    Attributes:
        config: the inactive XML; "" for a virtual server that has none.
        live: the active XML; None where it does not run.
        persistent: whether it is defined.
        autostart: whether libvirt starts it with the host.
        managed_save: whether its next start restores a saved state.
        scheduler: what ``virsh schedinfo`` prints, of what runs.
        scheduler_config: what ``virsh schedinfo --config`` prints; 0 where nothing is configured.
    """

    config: str
    live: str | None
    persistent: bool
    autostart: bool
    managed_save: bool
    scheduler: Mapping[str, int]
    scheduler_config: Mapping[str, int]


class StatisticsConnection:
    """A connection of its own for statistics: a call that hangs holds up nobody else's.

    Its calls may hang for as long as libvirt or a QEMU does. Whoever cannot wait makes them in a
    thread that can be left behind.

    Raises:
        HypervisorError: every method, as :mod:`reconvirt.hypervisor.errors` tells.
    """

    def __init__(self, uri: str) -> None:
        """Connect to ``uri``; statistics need no right to change anything, job numbers do."""
        self._channel = open_connection(uri)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read_all(self) -> list[Reading]:
        """All virtual servers, in one call that waits for no job (``NOWAIT``)."""
        nowait = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        with self._channel.call("getAllDomainStats") as connection:
            listed = connection.getAllDomainStats(0, nowait)
            # Name, uuid and number are in the answer: no call is made for them.
            return [_reading(domain, values) for domain, values in listed]

    def describe(self, uuid: str) -> Description:
        """What the statistics lack of one virtual server.

        Raises:
            VirtualServerGone: there is none with this uuid any more.
        """
        with self._channel.call("describe", uuid) as connection:
            domain = connection.lookupByUUIDString(uuid)
            persistent, active = bool(domain.isPersistent()), bool(domain.isActive())
            return Description(
                config=domain.XMLDesc(_INACTIVE) if persistent else "",
                live=domain.XMLDesc(0) if active else None,
                persistent=persistent,
                autostart=bool(domain.autostart()) if persistent else False,
                managed_save=bool(domain.hasManagedSaveImage()) if persistent else False,
                scheduler=_parameters(domain, _LIVE) if active else {},
                scheduler_config=_parameters(domain, _CONFIG) if persistent else {},
            )

    def job(self, uuid: str) -> Values:
        """The job that a virtual server has now, as ``virsh domjobinfo`` shows it; {} for none.

        Of one that arrives the host knows nothing: only that which it leaves has the numbers.
        """
        with self._channel.call("jobStats", uuid) as connection:
            try:
                job: dict[str, Any] = connection.lookupByUUIDString(uuid).jobStats()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
                    raise
                return {}
        return {} if job.get("type") == libvirt.VIR_DOMAIN_JOB_NONE else job

    def close(self) -> None:
        """End the connection, when the call inside it has come back."""
        self._channel.close()


Connect = Callable[[], StatisticsConnection]


def _reading(domain: libvirt.virDomain, values: Values) -> Reading:
    number = domain.ID()
    state, reason = name_state(values.get("state.state", 0), values.get("state.reason", 0))
    active = None if number == -1 else number
    if active is None:
        # libvirt gives it the CPU time of some other control group, which grows (seen with 9.0).
        values = {key: value for key, value in values.items() if key[:4] != "cpu."}
    return Reading(domain.name(), domain.UUIDString(), active, state, reason, values)


def _parameters(domain: libvirt.virDomain, where: int) -> Mapping[str, int]:
    try:
        found: dict[str, int] = domain.schedulerParametersFlags(where)
    except libvirt.libvirtError as error:
        if error.get_error_code() in {
            libvirt.VIR_ERR_OPERATION_INVALID,
            libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
            libvirt.VIR_ERR_NO_SUPPORT,
        }:
            return {}  # there is no CPU controller here, or it has just stopped
        raise
    return found
