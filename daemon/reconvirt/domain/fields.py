"""The table of a virtual server's fields.

One row says of each field what it is called, where it stands in libvirt's XML, what is equal and
how a change takes effect. Rendering, reading, comparing, planning, the JSON Schema and the
documentation all go by these rows; a new field is a new row. Names are libvirt's element names
("Selected libvirt XML elements", chapter 24 of KVM Virtual Server Management).
"""

from __future__ import annotations

from collections.abc import Mapping

from reconvirt.domain import effects, values
from reconvirt.domain.effects import at_next_start
from reconvirt.domain.places import Amount, Attribute, CurrentVcpus, IothreadCount, Presence, Text
from reconvirt.domain.rows import Field, Stated, always
from reconvirt.domain.values import Value


def _stated_else_maximum(_name: str, stated: Stated) -> Value | None:
    return stated.get("vcpu.maximum")


def _true_on_x86(_name: str, stated: Stated) -> Value | None:
    # Without it a guest on x86 hears of no shutdown and no hotplug.
    return True if stated.get("os.arch") in ("x86_64", "i686") else None


_STARTED_WITH = at_next_start("a running virtual server keeps what it was started with")
_BOOTED_WITH = at_next_start("it is read when the virtual server boots")
_NEW_PROCESS = at_next_start("it takes a new QEMU process")

_REACTIONS = ("destroy", "restart", "preserve", "rename-restart")

FIELDS: tuple[Field, ...] = (
    Field(
        "type",
        Attribute("", "type"),
        values.choice("kvm", "qemu"),
        _NEW_PROCESS,
        "Hypervisor type",
        "kvm runs the guest on the processor; qemu emulates one, slowly, for any architecture.",
        default=always("kvm"),
    ),
    Field(
        "memory",
        Amount("memory", displaces=("currentMemory",)),
        values.MEMORY,
        at_next_start("libvirt cannot resize the memory of a running virtual server"),
        "Memory",
        "The memory the virtual server is started with: a number and a unit, where KB, MB, GB, TB "
        "are powers of 1000 and KiB, MiB, GiB, TiB powers of 1024.",
        required=True,
    ),
    Field(
        "vcpu.maximum",
        Text("vcpu"),
        values.integer(1, 4096),
        at_next_start("the maximum is fixed when the virtual server is started"),
        "Most vCPUs",
        "How many virtual CPUs the running virtual server can have at most.",
        required=True,
    ),
    Field(
        "vcpu.current",
        CurrentVcpus(),
        values.integer(1, 4096),
        effects.VCPUS,
        "vCPUs now",
        "How many of the virtual CPUs are on; the maximum if not stated.",
        default=_stated_else_maximum,
    ),
    Field(
        "cputune.shares",
        Text("cputune/shares"),
        values.integer(2, 262144),
        effects.SHARES,
        "CPU weight",
        "The virtual server's weight when host CPUs are contended: one with 2048 gets twice the "
        "time of one with 1024 (chapter 18).",
    ),
    Field(
        "os.arch",
        Attribute("os/type", "arch"),
        values.text(r"^[a-z0-9_]+$", examples=["s390x", "x86_64"]),
        effects.refused("another architecture is another virtual server: give it another name"),
        "Architecture",
        "The processor architecture of the guest.",
        required=True,
    ),
    Field(
        "os.machine",
        Attribute("os/type", "machine"),
        values.MACHINE,
        _NEW_PROCESS,
        "Machine type",
        "The machine QEMU builds. Without a version, libvirt picks the newest when the virtual "
        "server is first defined, and it stays.",
        required=True,
    ),
    Field(
        "os.kernel",
        Text("os/kernel"),
        values.path(),
        _BOOTED_WITH,
        "Kernel image",
        "The kernel image file on the host that is booted.",
    ),
    Field(
        "os.initrd",
        Text("os/initrd"),
        values.path(),
        _BOOTED_WITH,
        "Initial ramdisk",
        "The initial ramdisk on the host that goes with the kernel.",
    ),
    Field(
        "os.cmdline",
        Text("os/cmdline"),
        values.text(r"^\S(.*\S)?$", description="One line."),
        _BOOTED_WITH,
        "Kernel command line",
        "The arguments passed to the kernel.",
    ),
    Field(
        "features.acpi",
        Presence("features/acpi"),
        values.YES_OR_NO,
        _STARTED_WITH,
        "ACPI",
        "The guest can be asked to shut down and to give devices back by ACPI; true on x86 if not "
        "stated. s390x has none.",
        default=_true_on_x86,
    ),
    Field(
        "on_poweroff",
        Text("on_poweroff"),
        values.choice(*_REACTIONS),
        effects.lifecycle("poweroff"),
        "Reaction to a power-off",
        "What libvirt does when the guest powers off; destroy is its default.",
    ),
    Field(
        "on_reboot",
        Text("on_reboot"),
        values.choice(*_REACTIONS),
        effects.lifecycle("reboot"),
        "Reaction to a reboot",
        "What libvirt does when the guest reboots; restart is its default.",
    ),
    Field(
        "on_crash",
        Text("on_crash"),
        values.choice(*_REACTIONS, "coredump-destroy", "coredump-restart"),
        effects.lifecycle("crash"),
        "Reaction to a crash",
        "What libvirt does when the guest crashes; preserve keeps it for a dump (chapter 10).",
    ),
    Field(
        "devices.emulator",
        Text("devices/emulator"),
        values.path(),
        _NEW_PROCESS,
        "Emulator",
        "The QEMU program; libvirt picks one if not stated.",
    ),
    Field(
        "devices.memballoon.model",
        Attribute("devices/memballoon", "model", alone=True),
        values.choice("virtio", "none"),
        _STARTED_WITH,
        "Memory balloon",
        "none suppresses the balloon device that libvirt adds by itself (chapter 10).",
    ),
    # Last, since it must know which I/O threads the devices use.
    Field(
        "iothreads",
        IothreadCount(),
        values.count(1024),
        effects.IOTHREADS,
        "I/O threads",
        "How many threads the virtual server has for the I/O of its disks (chapter 19).",
    ),
)

FIELD_BY_NAME: Mapping[str, Field] = {row.name: row for row in FIELDS}
