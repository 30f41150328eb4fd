"""What can be done to a virtual server: the closed vocabulary of steps.

Each action is one writing call of libvirt, made by :mod:`reconvirt.hypervisor.act`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from reconvirt.domain.migration_actions import MigrationAction


@dataclass(frozen=True, slots=True)
class Define:
    """Make or change the persistent configuration (``virDomainDefineXMLFlags``).

    ``base`` is the configuration that it was made from; "" for a new virtual server.
    """

    xml: str
    base: str = ""
    verb: ClassVar[str] = "define"


@dataclass(frozen=True, slots=True)
class Record:
    """Keep what was applied in the virtual server's own metadata (``virDomainSetMetadata``)."""

    mark: str
    live: bool
    verb: ClassVar[str] = "record"


@dataclass(frozen=True, slots=True)
class Rename:
    """Give a virtual server that is shut off its new name (``virDomainRename``)."""

    old: str
    new: str
    verb: ClassVar[str] = "rename"


@dataclass(frozen=True, slots=True)
class SetAutostart:
    """Have libvirt start the virtual server with the host, or not (``virDomainSetAutostart``)."""

    on: bool
    verb: ClassVar[str] = "set-autostart"


@dataclass(frozen=True, slots=True)
class Start:
    """Start the virtual server (``virDomainCreateWithFlags``).

    A saved system image is restored, unless ``force_boot`` discards it.
    """

    paused: bool = False
    force_boot: bool = False
    verb: ClassVar[str] = "start"


@dataclass(frozen=True, slots=True)
class Suspend:
    """Pause what runs (``virDomainSuspend``)."""

    verb: ClassVar[str] = "suspend"


@dataclass(frozen=True, slots=True)
class Resume:
    """Let what is paused go on (``virDomainResume``)."""

    verb: ClassVar[str] = "resume"


@dataclass(frozen=True, slots=True)
class Wake:
    """Wake a guest that sleeps (``virDomainPMWakeup``)."""

    verb: ClassVar[str] = "wake"


@dataclass(frozen=True, slots=True)
class Save:
    """Save the system image and end the process (``virDomainManagedSave``)."""

    verb: ClassVar[str] = "save"


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Ask the guest to shut down (``virDomainShutdownFlags``).

    ``mode``: ``default`` is whatever the guest understands: signal quiesce on s390x, ACPI on x86.
    """

    mode: str = "default"
    verb: ClassVar[str] = "shutdown"


@dataclass(frozen=True, slots=True)
class Destroy:
    """End the process at once, whatever the guest does (``virDomainDestroy``)."""

    verb: ClassVar[str] = "destroy"


@dataclass(frozen=True, slots=True)
class InjectNmi:
    """Cause a restart interrupt in the guest, which may dump itself (``virDomainInjectNMI``)."""

    verb: ClassVar[str] = "inject-nmi"


@dataclass(frozen=True, slots=True)
class Dump:
    """Write the guest's memory to an ELF file on the host (``virDomainCoreDumpWithFormat``)."""

    path: str
    verb: ClassVar[str] = "dump"


@dataclass(frozen=True, slots=True)
class Undefine:
    """Remove the configuration, and nothing that belongs to the guest (``virDomainUndefineFlags``).

    Storage, NVRAM and TPM state stay.
    """

    verb: ClassVar[str] = "undefine"


@dataclass(frozen=True, slots=True)
class SetVcpus:
    """Change the number of vCPUs of the running virtual server (``virDomainSetVcpusFlags``)."""

    count: int
    verb: ClassVar[str] = "set-vcpus"


@dataclass(frozen=True, slots=True)
class SetMemory:
    """Ask the guest to fill or empty its balloon (``virDomainSetMemoryFlags``); in KiB."""

    amount: int
    verb: ClassVar[str] = "set-memory"


@dataclass(frozen=True, slots=True)
class SetParameter:
    """Change a tuning parameter of what runs.

    ``virDomainSetSchedulerParametersFlags``, ``virDomainSetMemoryParameters`` or
    ``virDomainSetBlkioParameters``, by ``group``.
    """

    group: str
    name: str
    value: int
    verb: ClassVar[str] = "set-parameter"


@dataclass(frozen=True, slots=True)
class SetText:
    """Change ``title`` or ``description`` of what runs (``virDomainSetMetadata``)."""

    kind: str
    text: str
    verb: ClassVar[str] = "set-text"


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


@dataclass(frozen=True, slots=True)
class UpdateDevice:
    """Change a plugged-in device as a whole (``virDomainUpdateDeviceFlags``).

    ``force``: a drive's medium is changed even if the guest has locked its tray.
    """

    xml: str
    force: bool = False
    verb: ClassVar[str] = "update"


@dataclass(frozen=True, slots=True)
class Throttle:
    """Limit the I/O of a disk of what runs (``virDomainSetBlockIoTune``); 0 is no limit."""

    target: str
    limits: tuple[tuple[str, int | str], ...]
    verb: ClassVar[str] = "throttle"


@dataclass(frozen=True, slots=True)
class LimitInterface:
    """Limit the bandwidth of a plugged-in interface (``virDomainSetInterfaceParameters``).

    0 is no limit. ``virDomainUpdateDeviceFlags`` leaves a limit in force on an Open vSwitch port
    of which the new XML says nothing (libvirt 9.0).
    """

    mac: str
    rates: tuple[tuple[str, int], ...]
    verb: ClassVar[str] = "limit-interface"


@dataclass(frozen=True, slots=True)
class CreateImage:
    """Make an image file that is missing (``qemu-img create``, chapter 26); size in bytes."""

    path: str
    format: str
    size: int | None
    backing: str | None
    backing_format: str | None
    preallocation: str | None
    verb: ClassVar[str] = "create-image"


@dataclass(frozen=True, slots=True)
class GrowImage:
    """Make the image of a virtual server that is shut off larger (``qemu-img resize``)."""

    path: str
    format: str
    size: int
    verb: ClassVar[str] = "grow-image"


@dataclass(frozen=True, slots=True)
class GrowDisk:
    """Make a disk of what runs larger, and its image with it (``virDomainBlockResize``)."""

    target: str
    size: int
    verb: ClassVar[str] = "grow-disk"


DomainAction: TypeAlias = (
    Record
    | SetAutostart
    | Start
    | Suspend
    | Resume
    | Wake
    | Save
    | Shutdown
    | Destroy
    | InjectNmi
    | Dump
    | Undefine
    | SetVcpus
    | SetMemory
    | SetParameter
    | SetText
    | AddIothread
    | DeleteIothread
    | SetLifecycleAction
    | Attach
    | Detach
    | UpdateDevice
    | Throttle
    | LimitInterface
    | GrowDisk
)
"""What is done to a virtual server that is there."""

Action: TypeAlias = Define | Rename | CreateImage | GrowImage | DomainAction | MigrationAction

IN_PLACE = (
    AddIothread,
    SetVcpus,
    SetMemory,
    SetParameter,
    SetText,
    SetLifecycleAction,
    Detach,
    Attach,
    UpdateDevice,
    Throttle,
    LimitInterface,
    GrowDisk,
    DeleteIothread,
    SetAutostart,
)
"""The actions that change what runs, in the order in which they are taken."""
