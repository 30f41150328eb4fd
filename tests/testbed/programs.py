"""The programs that tests and test beds run, and the Debian package that each is in.

A program that is missing is a failure that names its package, never a reason to skip a test:
`scripts/setup` installs them all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

PROGRAMS: Mapping[str, str] = {
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "cpio": "cpio",
    "debootstrap": "debootstrap",
    "etcd": "etcd-server",
    "git": "git",
    "gpg": "gnupg",
    "gpgconf": "gnupg",
    "groff": "groff",
    "ip": "iproute2",
    "iptables": "iptables",
    "libvirtd": "libvirt-daemon-system",
    "flock": "util-linux",
    "losetup": "mount",
    "mount": "mount",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-switch",
    "perf": "linux-perf",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "ps": "procps",
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-s390x": "qemu-system-misc",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "swtpm": "swtpm",  # libvirt refuses to define an emulated TPM without these two
    "swtpm_setup": "swtpm-tools",
    "systemd-analyze": "systemd",
    "systemd-nspawn": "systemd-container",
    "tgtadm": "tgt",
    "tgtd": "tgt",
    "umount": "mount",
    "unshare": "util-linux",
    "virsh": "libvirt-clients",
    "virt-admin": "libvirt-clients",
    "virtlogd": "libvirt-daemon-system",
    "xorrisofs": "xorriso",
}

# What is no program, as patterns below /usr.
FILES: Mapping[str, str] = {
    "lib/*/qemu/block-iscsi.so": "qemu-block-extra",
    "share/fonts/truetype/dejavu/DejaVuSans.ttf": "fonts-dejavu-core",
}

# Of packages that every Debian has.
ESSENTIAL = frozenset(
    {
        *("apt-get", "bash", "cat", "cp", "dpkg-deb", "env", "false", "gzip", "id", "ls", "mkdir"),
        *("mv", "rm", "sh", "sleep", "tar", "true"),
    }
)

_ROOT = Path(__file__).resolve().parents[2]
_OURS = (f"{_ROOT}/tests/", f"{_ROOT}/daemon/")
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def missing() -> dict[str, str]:
    """Each program or file of the tables that is not on this machine, and its package."""
    absent = {name: package for name, package in PROGRAMS.items() if _find(name) is None}
    files = {each: package for each, package in FILES.items() if not any(Path("/usr").glob(each))}
    return absent | files


def require(name: str) -> None:
    """Fail the test if it runs a program that is missing, or that the table lacks.

    Args:
        name: as it is called; one with a path is the test's own business.
    """
    if "/" in name or name in ESSENTIAL:
        return
    if name not in PROGRAMS:
        pytest.fail(f"{name} has no package in {__file__}, from where scripts/setup is checked")
    if _find(name) is None:
        pytest.fail(f"{name} is missing: scripts/setup installs the package {PROGRAMS[name]}")


def watch_processes() -> None:
    """Check every program that this process runs from now on, directly."""
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "subprocess.Popen" or not _called_from_here():
        return
    program, command, *_ = arguments
    called = program or (command if isinstance(command, (str, bytes, os.PathLike)) else command[0])
    require(os.fsdecode(called))


def _called_from_here() -> bool:
    """Whether the repository's own code starts the process: libraries and pytest do, too."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename == subprocess.__file__:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(_OURS)


def _find(name: str) -> str | None:
    return shutil.which(name, path=_PATH)
