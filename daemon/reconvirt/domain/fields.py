"""The table of a virtual server's fields.

One row says of each field what it is called, where it stands in libvirt's XML, what is equal and
how a change takes effect. Rendering, reading, comparing, planning, importing, the JSON Schema and
the documentation all go by these rows; a new field is a new row. Names are libvirt's element names
("Selected libvirt XML elements", chapter 24 of KVM Virtual Server Management).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconvirt.domain import effects, values
from reconvirt.domain.effects import at_next_start
from reconvirt.domain.fields_processor import PROCESSOR
from reconvirt.domain.fields_system import SYSTEM
from reconvirt.domain.joint_places import IothreadCount, IothreadIds, SparePorts
from reconvirt.domain.places import Amount, Text
from reconvirt.domain.rows import Field, Stated, always, usual
from reconvirt.domain.values import Value

_NEW_PROCESS = at_next_start("it takes a new QEMU process")
_REACTIONS = ("destroy", "restart", "preserve", "rename-restart")


def _is_usual_emulator(value: Value, stated: Stated) -> bool:
    return value in (f"/usr/bin/qemu-system-{stated.get('os.arch')}", "/usr/bin/kvm")


_GENERAL: tuple[Field, ...] = (
    Field(
        "type",
        values.choice("kvm", "qemu"),
        _NEW_PROCESS,
        "Hypervisor type",
        "kvm runs the guest on the processor; qemu emulates one, slowly, for any architecture.",
        default=always("kvm"),
    ),
    Field(
        "title",
        values.line(),
        effects.label("title"),
        "Title",
        "A short text for people.",
        place=Text("title"),
    ),
    Field(
        "description",
        values.text(),
        effects.label("description"),
        "Description",
        "A text for people.",
        place=Text("description"),
    ),
    Field(
        "memory.size",
        values.MEMORY,
        at_next_start("libvirt cannot resize the memory of a running virtual server"),
        "Memory",
        "The memory the virtual server is started with: a number and a unit, where KB, MB, GB, TB "
        "are powers of 1000 and KiB, MiB, GiB, TiB powers of 1024.",
        place=Amount("memory", displaces=("currentMemory",)),
        required=True,
        short=True,
    ),
    Field(
        "memory.dumpCore",
        values.choice(*values.ON_OFF),
        _NEW_PROCESS,
        "Memory in core dumps",
        "Whether QEMU's own core dumps hold the virtual server's memory (chapter 10).",
    ),
    Field(
        "currentMemory",
        values.MEMORY,
        effects.BALLOON,
        "Memory now",
        "How much of the memory the guest has; the rest is in its memory balloon.",
        place=Amount("currentMemory"),
        implied=lambda value, stated: value == stated.get("memory.size"),
    ),
)

_TUNING: tuple[Field, ...] = (
    Field(
        "memtune.hard_limit",
        values.MEMORY,
        effects.parameter("memory", "hard_limit"),
        "Memory limit",
        "The most host memory that the QEMU process may use; it is killed beyond it.",
        place=Amount("memtune/hard_limit"),
    ),
    Field(
        "memtune.soft_limit",
        values.MEMORY,
        effects.parameter("memory", "soft_limit"),
        "Memory limit in need",
        "The host memory that the QEMU process is held to when memory is short.",
        place=Amount("memtune/soft_limit"),
    ),
    Field(
        "memtune.swap_hard_limit",
        values.MEMORY,
        effects.parameter("memory", "swap_hard_limit"),
        "Memory and swap limit",
        "The most host memory and swap space together.",
        place=Amount("memtune/swap_hard_limit"),
    ),
    Field(
        "blkiotune.weight",
        values.integer(100, 1000),
        effects.parameter("blkio", "weight"),
        "I/O weight",
        "The weight of its I/O when the host's disks are contended.",
        place=Text("blkiotune/weight"),
    ),
)

_LIFECYCLE: tuple[Field, ...] = (
    Field(
        "on_poweroff",
        values.choice(*_REACTIONS),
        effects.lifecycle("poweroff"),
        "Reaction to a power-off",
        "What libvirt does when the guest powers off; destroy is its default.",
        implied=usual("destroy"),
        place=Text("on_poweroff"),
    ),
    Field(
        "on_reboot",
        values.choice(*_REACTIONS),
        effects.lifecycle("reboot"),
        "Reaction to a reboot",
        "What libvirt does when the guest reboots; restart is its default.",
        implied=usual("restart"),
        place=Text("on_reboot"),
    ),
    Field(
        "on_crash",
        values.choice(*_REACTIONS, "coredump-destroy", "coredump-restart"),
        effects.lifecycle("crash"),
        "Reaction to a crash",
        "What libvirt does when the guest crashes; preserve keeps it for a dump (chapter 10).",
        implied=usual("destroy"),
        place=Text("on_crash"),
    ),
)

_DEVICES: tuple[Field, ...] = (
    Field(
        "devices.emulator",
        values.path(),
        _NEW_PROCESS,
        "Emulator",
        "The QEMU program; libvirt picks one if not stated.",
        place=Text("devices/emulator"),
        implied=_is_usual_emulator,
    ),
    # After the devices: they must have taken their ports.
    Field(
        "devices.spare_ports",
        # Other devices may come to use ports that were spare: what is left over is never removed.
        replace(
            values.integer(0, 32),
            satisfied=lambda wanted, found: int(found) >= int(wanted),
            remains=lambda _applied, _found: False,
        ),
        at_next_start("a PCI Express root port cannot be plugged"),
        "Spare PCI Express ports",
        "On q35 and aarch64: how many root ports shall be free at each start for devices to be "
        "hotplugged; libvirt leaves one.",
        place=SparePorts(),
        implied=lambda _value, _stated: True,
        config_only=True,
    ),
)

_IOTHREADS: tuple[Field, ...] = (
    # Last, since they must know which I/O threads the devices use.
    Field(
        "iothreads",
        values.count(1024),
        effects.IOTHREADS,
        "I/O threads",
        "How many threads the virtual server has for the I/O of its disks (chapter 19).",
        place=IothreadCount(),
        implied=usual(0),
    ),
    Field(
        "iothreadids",
        values.numbers(1, 1024),
        effects.IOTHREADS,
        "I/O thread IDs",
        "Which IDs the I/O threads have, where they are not 1 to iothreads; these and no others.",
        place=IothreadIds(),
        implied=lambda value, stated: (
            value == ",".join(map(str, range(1, int(stated.get("iothreads", 0)) + 1)))
        ),
    ),
)

FIELDS: tuple[Field, ...] = (
    *_GENERAL,
    *PROCESSOR,
    *SYSTEM,
    *_TUNING,
    *_LIFECYCLE,
    *_DEVICES,
    *_IOTHREADS,
)

FIELD_BY_NAME: Mapping[str, Field] = {row.name: row for row in FIELDS}
