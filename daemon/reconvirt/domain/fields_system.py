"""Rows of the table: what is booted, firmware, features, clock, key wrapping."""

from __future__ import annotations

from reconvirt.domain import effects, values
from reconvirt.domain.effects import STARTED_WITH, at_next_start
from reconvirt.domain.joint_places import BootDevices
from reconvirt.domain.places import Attribute, Presence, Text
from reconvirt.domain.rows import Field, Stated, usual
from reconvirt.domain.values import Value


def _true_on_x86(_name: str, stated: Stated) -> Value | None:
    # Without it a guest on x86 hears of no shutdown and no hotplug.
    return True if stated.get("os.arch") in ("x86_64", "i686") else None


_BOOTED_WITH = at_next_start("it is read when the virtual server boots")
_NEW_PROCESS = at_next_start("it takes a new QEMU process")


def _feature(name: str, title: str, about: str) -> Field:
    return Field(
        f"features.{name}",
        values.YES_OR_NO,
        STARTED_WITH,
        title,
        about,
        place=Presence(f"features/{name}"),
    )


def _sleep(where: str, state: str) -> Field:
    return Field(
        f"pm.suspend-to-{where}.enabled",
        values.choice(*values.YES_NO),
        STARTED_WITH,
        f"Suspend to {where}",
        f"Whether the guest is offered the ACPI state {state} (x86).",
    )


def _cipher(name: str, what: str) -> Field:
    return Field(
        f"keywrap.cipher.{name}",
        values.choice(*values.ON_OFF),
        STARTED_WITH,
        f"{what} wrapping key",
        f"Whether the guest can use protected keys of {what} (chapter 10); on if not stated.",
        place=Attribute(f"keywrap/cipher[@name='{name}']", "state"),
    )


SYSTEM: tuple[Field, ...] = (
    Field(
        "os.arch",
        values.text(r"^[a-z0-9_]+$", examples=["s390x", "x86_64"]),
        effects.refused("another architecture is another virtual server: give it another name"),
        "Architecture",
        "The processor architecture of the guest.",
        place=Attribute("os/type", "arch"),
        required=True,
    ),
    Field(
        "os.machine",
        values.MACHINE,
        _NEW_PROCESS,
        "Machine type",
        "The machine QEMU builds. Without a version, libvirt picks the newest when the virtual "
        "server is first defined, and it stays.",
        place=Attribute("os/type", "machine"),
        required=True,
    ),
    Field(
        "os.firmware",
        values.choice("bios", "efi"),
        _BOOTED_WITH,
        "Firmware",
        "efi: libvirt finds a UEFI firmware of the host, and keeps its variables (NVRAM).",
        place=Attribute("os", "firmware"),
        expanded=True,
    ),
    Field(
        "os.loader.path",
        values.path(),
        _BOOTED_WITH,
        "Firmware image",
        "The firmware file, where libvirt shall not find one itself.",
        place=Text("os/loader"),
        expanded=True,
    ),
    Field(
        "os.loader.readonly",
        values.choice(*values.YES_NO),
        _BOOTED_WITH,
        "Read-only firmware",
        "Whether the firmware image cannot be written.",
        expanded=True,
    ),
    Field(
        "os.loader.type",
        values.choice("rom", "pflash"),
        _BOOTED_WITH,
        "Firmware memory",
        "How the guest sees the image: UEFI wants pflash.",
        expanded=True,
    ),
    Field(
        "os.loader.secure",
        values.choice(*values.YES_NO),
        _BOOTED_WITH,
        "Secure firmware",
        "Whether the firmware is protected by system management mode (Secure Boot).",
        expanded=True,
    ),
    Field(
        "os.nvram.path",
        values.path(),
        _BOOTED_WITH,
        "Firmware variables",
        "The file of the firmware's variables; it is never deleted.",
        place=Text("os/nvram"),
        expanded=True,
    ),
    Field(
        "os.nvram.template",
        values.path(),
        _BOOTED_WITH,
        "Template of firmware variables",
        "The file that the variables are first copied from.",
        expanded=True,
    ),
    Field(
        "os.kernel",
        values.path(),
        _BOOTED_WITH,
        "Kernel image",
        "The kernel image file on the host that is booted.",
        place=Text("os/kernel"),
    ),
    Field(
        "os.initrd",
        values.path(),
        _BOOTED_WITH,
        "Initial ramdisk",
        "The initial ramdisk on the host that goes with the kernel.",
        place=Text("os/initrd"),
    ),
    Field(
        "os.cmdline",
        values.command_line(),
        _BOOTED_WITH,
        "Kernel command line",
        "The arguments passed to the kernel.",
        place=Text("os/cmdline"),
    ),
    Field(
        "os.dtb",
        values.path(),
        _BOOTED_WITH,
        "Device tree",
        "The device tree file on the host, for architectures that boot with one.",
        place=Text("os/dtb"),
    ),
    Field(
        "os.boot",
        values.words("fd", "hd", "cdrom", "network"),
        _BOOTED_WITH,
        "Boot devices",
        "Kinds of devices to boot from, in order; better say boot.order on the devices.",
        place=BootDevices(),
        implied=usual("hd"),
    ),
    Field(
        "os.bootmenu.enable",
        values.choice(*values.YES_NO),
        _BOOTED_WITH,
        "Boot menu",
        "Whether the guest shows a menu when it boots.",
    ),
    Field(
        "os.bootmenu.timeout",
        values.integer(0, 65535),
        _BOOTED_WITH,
        "Time for the boot menu",
        "How long the menu waits, in milliseconds.",
    ),
    Field(
        "features.acpi",
        values.YES_OR_NO,
        STARTED_WITH,
        "ACPI",
        "The guest can be asked to shut down and to give devices back by ACPI; true on x86 if not "
        "stated. s390x has none.",
        place=Presence("features/acpi"),
        default=_true_on_x86,
    ),
    _feature("apic", "APIC", "The guest has an advanced interrupt controller (x86)."),
    _feature("pae", "PAE", "32-bit guests can use more than 4 GiB (x86)."),
    Field(
        "features.smm.state",
        values.choice(*values.ON_OFF),
        STARTED_WITH,
        "System management mode",
        "Whether the guest has it (x86); Secure Boot needs it.",
        place=Attribute("features/smm", "state"),
        expanded=True,
    ),
    Field(
        "features.vmport.state",
        values.choice(*values.ON_OFF),
        STARTED_WITH,
        "VMware port",
        "Whether QEMU emulates VMware's I/O port (x86).",
        place=Attribute("features/vmport", "state"),
    ),
    Field(
        "features.gic.version",
        values.choice("2", "3", "4", "host"),
        STARTED_WITH,
        "Interrupt controller",
        "The version of the generic interrupt controller (arm).",
        place=Attribute("features/gic", "version"),
        expanded=True,
    ),
    Field(
        "clock.offset",
        values.choice("utc", "localtime", "timezone", "variable"),
        STARTED_WITH,
        "Clock",
        "What the guest's clock shows when it starts; utc is libvirt's default.",
        implied=usual("utc"),
    ),
    Field(
        "clock.timezone",
        values.line(),
        STARTED_WITH,
        "Time zone",
        "The zone of a clock of offset timezone.",
    ),
    _sleep("mem", "S3"),
    _sleep("disk", "S4"),
    _cipher("aes", "AES"),
    _cipher("dea", "DEA/TDEA"),
)
