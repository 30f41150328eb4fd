"""The section ``[admission]``: what this host lets manifests ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from reconvirt.controller.config.settings import setting
from reconvirt.controller.resolve_path import PathResolver, trusted_ids
from reconvirt.domain.admission import Admission, look_at_nothing
from reconvirt.domain.paths import Purpose
from reconvirt.domain.totals import Totals
from reconvirt.manifest.units import format_memory, parse_memory

_PATTERNS = "a pattern such as `br*`, as file names have them"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSettings:
    """What this host lets manifests ask for; see the page on security for what it keeps out."""

    enforce: bool = setting(
        False,
        about="whether this section holds; without it manifests may ask for anything but "
        "`qemu:commandline` and its kin. The packaged configuration turns it on",
    )
    disk_roots: tuple[Path, ...] = setting(
        (Path("/var/lib/libvirt/images"), Path("/srv"), Path("/dev/mapper"), Path("/dev/disk")),
        about="the directories whose files and devices may be disks, CDs and backing files",
    )
    boot_roots: tuple[Path, ...] = setting(
        (
            *(Path("/var/lib/libvirt/images"), Path("/var/lib/libvirt/boot"), Path("/srv")),
            *(Path("/usr/share"), Path("/var/lib/libvirt/qemu/nvram")),
        ),
        about="the directories whose files may be kernels, initial RAM disks, firmware and NVRAM",
    )
    log_roots: tuple[Path, ...] = setting(
        (Path("/var/log/libvirt"),),
        about="the directories that consoles and other character devices may write files into",
    )
    dump_roots: tuple[Path, ...] = setting(
        (Path("/var/lib/reconvirt/dumps"), Path("/var/lib/libvirt/qemu/dump")),
        about="the directories that the memory of guests may be dumped into, whether by a policy "
        "(into `dump_directory`) or by libvirt (`on_crash: coredump-…`, a watchdog's `dump`)",
    )
    libvirt_dump_directory: Path = setting(
        Path("/var/lib/libvirt/qemu/dump"),
        about="where libvirt itself dumps guests to: `auto_dump_path` in its qemu.conf",
    )
    socket_roots: tuple[Path, ...] = setting(
        (Path("/var/lib/libvirt/qemu"), Path("/run/libvirt"), Path("/run/openvswitch")),
        about="the directories whose UNIX sockets may be used",
    )
    device_roots: tuple[Path, ...] = setting(
        (
            *(Path("/dev/random"), Path("/dev/urandom"), Path("/dev/hwrng"), Path("/dev/tpm0")),
            Path("/dev/net/tun"),
        ),
        about="the devices besides disks that may be used by their path, and directories of such",
    )
    share_roots: tuple[Path, ...] = setting(
        (), about="the directories that `<filesystem>` may give to guests"
    )
    other_roots: tuple[Path, ...] = setting(
        (),
        about="the directories for every other path in the domain XML, such as a network "
        "interface's script: whatever it is for, it is refused outside them",
    )
    trust_writable: bool = setting(
        False,
        about="whether a path may lead through directories that others than their owner, root or "
        "the daemon can write to, and so could turn elsewhere after it was checked",
    )
    trust_unreadable_images: bool = setting(
        False,
        about="whether qcow2 images are used although we may not look into them, and so do not "
        "know which further files they name",
    )
    trusted_owners: tuple[str, ...] = setting(
        ("libvirt-qemu", "qemu", "reconvirt"),
        about="the users, besides root and the daemon's own, whose directories paths may lead "
        "through",
    )
    emulators: tuple[str, ...] = setting(
        ("/usr/bin/qemu-system-*", "/usr/bin/qemu-kvm", "/usr/libexec/qemu-kvm"),
        about="the emulators that may be run, " + _PATTERNS,
    )
    bridges: tuple[str, ...] = setting(
        ("*",), about="the bridges that interfaces may be attached to, " + _PATTERNS
    )
    networks: tuple[str, ...] = setting(
        ("*",), about="libvirt's networks that interfaces may be attached to, " + _PATTERNS
    )
    network_devices: tuple[str, ...] = setting(
        ("*",),
        about="the host's network devices that macvtap interfaces may be attached to, " + _PATTERNS,
    )
    host_devices: tuple[str, ...] = setting(
        ("scsi:*", "scsi_host:*", "mdev:*"),
        about="the host devices that may be passed through, a pattern of `TYPE:NAME` each: "
        "`pci:0000:01:00.0`, `usb:1234:abcd`, `scsi:scsi_host0:0:1:2`, `scsi_host:WWPN`, "
        "`mdev:UUID`, `storage:/dev/…`, `misc:/dev/…`, `net:NAME`",
    )
    disk_formats: tuple[str, ...] = setting(
        ("raw", "qcow2"),
        about="the formats that disks may be in; of others it is not looked up which further "
        "files an image names",
    )
    refused_elements: tuple[str, ...] = setting(
        ("seclabel", "devices/redirdev", "devices/smartcard"),
        about="the elements of domain XML that are refused wherever they come from, as paths of "
        "patterns below `<domain>`",
        pattern=r"[^/\s][^\s]*",
        examples=("devices/redirdev",),
    )
    max_vcpus: int | None = setting(
        None, about="the most virtual CPUs that one virtual server may have", least=1
    )
    max_memory: int | None = setting(
        None,
        about="the most memory that one virtual server may have",
        parse=parse_memory,
        show=format_memory,
        examples=("64 GiB",),
    )
    max_total_vcpus: int | None = setting(
        None,
        about="the most virtual CPUs that all virtual servers of this host may have together: "
        "those that shall run here, and those that do",
        least=1,
    )
    max_total_memory: int | None = setting(
        None,
        about="the most memory that all virtual servers of this host may have together, likewise",
        parse=parse_memory,
        show=format_memory,
        examples=("512 GiB",),
    )

    def admission(self, dump_directory: Path, *, local: bool) -> Admission | None:
        """The same for the domain room; None if it does not hold.

        Args:
            dump_directory: where reconvirt dumps crashed guests to.
            local: whether libvirt runs on this host, whose files we see.
        """
        if not self.enforce:
            return None
        resolver = PathResolver(
            self.trust_writable, self.trust_unreadable_images, trusted_ids(self.trusted_owners)
        )
        return Admission(
            roots={each: self._roots(each) for each in Purpose if each is not Purpose.EMULATOR},
            formats=self.disk_formats,
            emulators=self.emulators,
            bridges=self.bridges,
            networks=self.networks,
            network_devices=self.network_devices,
            host_devices=self.host_devices,
            refused_elements=self.refused_elements,
            max_vcpus=self.max_vcpus,
            max_memory=self.max_memory,
            totals=Totals(self.max_total_vcpus, self.max_total_memory),
            dump_directory=str(dump_directory),
            libvirt_dump_directory=str(self.libvirt_dump_directory),
            resolve=resolver if local else look_at_nothing,
        )

    def _roots(self, purpose: Purpose) -> tuple[str, ...]:
        roots: tuple[Path, ...] = getattr(self, purpose)
        return tuple(map(str, roots))


def is_local(uri: str) -> bool:
    """Whether libvirt runs on this host, and sees the files that we see."""
    parts = urlsplit(uri)
    return not parts.hostname and "+ssh" not in parts.scheme
