"""What libvirt says of one virtual server at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The states of a virtual server (chapter 23), by virsh's words."""

    RUNNING = "running"
    BLOCKED = "idle"
    PAUSED = "paused"
    SHUTDOWN = "in shutdown"
    SHUTOFF = "shut off"
    CRASHED = "crashed"
    SUSPENDED = "pmsuspended"
    UNKNOWN = "no state"


@dataclass(frozen=True, slots=True)
class Observed:
    """One virtual server as libvirt had it.

    Attributes:
        name: libvirt's name of the domain.
        uuid: dashed, lower case.
        domain_id: the number of the running one; None where it does not run. A new start gives
            a new number.
        state: its state.
        reason: libvirt's reason for the state, by virsh's words; "" where it was not asked for.
        config: the inactive XML, what the next start brings (``XMLDesc(INACTIVE|SECURE)``).
        live: the active XML, what runs; None where it does not run.
        autostart: whether libvirt starts it with the host.
        saved: the XML in its saved system image, which the next start restores; None where there
            is none.
        job: what libvirt is doing with it at length, such as ``migration``; "" if nothing.
        block_jobs: the disks that a block job works on, by target.dev; asked for only before it is
            moved.
        snapshots: how many it has; asked for only before it is moved.
        persistent: whether libvirt keeps its configuration; one that is not persistent is gone
            when it ends.
    """

    name: str
    uuid: str
    domain_id: int | None
    state: State
    reason: str
    config: str
    live: str | None
    autostart: bool = False
    saved: str | None = None
    job: str = ""
    block_jobs: tuple[str, ...] = ()
    snapshots: int = 0
    persistent: bool = True

    @property
    def active(self) -> bool:
        """Whether there is a QEMU process."""
        return self.live is not None


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one domain from another, and whether it is as it was.

    Attributes:
        uuid: dashed, lower case.
        name: libvirt's name of the domain.
        domain_id: the number of the running one; None where it does not run.
        persistent: whether libvirt keeps its configuration.
        last_applied: the text of reconvirt's own metadata; None where there is none.
    """

    uuid: str
    name: str
    domain_id: int | None
    persistent: bool
    last_applied: str | None
