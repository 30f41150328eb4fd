"""What can be done to a virtual server: the closed vocabulary of steps.

Each action is one writing call of libvirt, made by :mod:`reconvirt.hypervisor.act`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class Define:
    """Make or change the persistent configuration (``virDomainDefineXMLFlags``)."""

    xml: str
    verb: ClassVar[str] = "define"


@dataclass(frozen=True, slots=True)
class Record:
    """Keep what was applied in the virtual server's own metadata (``virDomainSetMetadata``)."""

    mark: str
    live: bool
    verb: ClassVar[str] = "record"


@dataclass(frozen=True, slots=True)
class Start:
    """Start the virtual server (``virDomainCreate``)."""

    verb: ClassVar[str] = "start"


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Ask the guest to shut down (``virDomainShutdown``)."""

    verb: ClassVar[str] = "shutdown"


@dataclass(frozen=True, slots=True)
class SetVcpus:
    """Change the number of vCPUs of the running virtual server (``virDomainSetVcpusFlags``)."""

    count: int
    verb: ClassVar[str] = "set-vcpus"


@dataclass(frozen=True, slots=True)
class SetShares:
    """Change the running CPU weight (``virDomainSetSchedulerParametersFlags``)."""

    shares: int
    verb: ClassVar[str] = "set-shares"


@dataclass(frozen=True, slots=True)
class AddIothread:
    """Add an I/O thread to the running virtual server (``virDomainAddIOThread``)."""

    number: int
    verb: ClassVar[str] = "add-iothread"


@dataclass(frozen=True, slots=True)
class DeleteIothread:
    """Delete an I/O thread of the running virtual server (``virDomainDelIOThread``)."""

    number: int
    verb: ClassVar[str] = "delete-iothread"


@dataclass(frozen=True, slots=True)
class SetLifecycleAction:
    """Change what happens at poweroff, reboot or crash (``virDomainSetLifecycleAction``)."""

    event: str
    reaction: str
    verb: ClassVar[str] = "set-lifecycle-action"


@dataclass(frozen=True, slots=True)
class Attach:
    """Plug a device into the running virtual server (``virDomainAttachDeviceFlags``)."""

    xml: str
    verb: ClassVar[str] = "attach"


@dataclass(frozen=True, slots=True)
class Detach:
    """Ask for a device of the running virtual server back (``virDomainDetachDeviceAlias``).

    By alias: ``virDomainDetachDevice`` takes any disk with the same target, whatever its source.
    """

    alias: str
    verb: ClassVar[str] = "detach"


Action: TypeAlias = (
    Define
    | Record
    | Start
    | Shutdown
    | SetVcpus
    | SetShares
    | AddIothread
    | DeleteIothread
    | SetLifecycleAction
    | Attach
    | Detach
)
