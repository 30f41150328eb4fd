"""Hosts whose guests can use the machine's KVM, where it has one that QEMU can use."""

import platform
import subprocess
from pathlib import Path

from testbed.host import LibvirtHost
from testbed.second import SecondHost


class KvmHost(LibvirtHost):
    """The first of two hosts, with KVM."""

    KVM = True


class KvmSecondHost(SecondHost):
    """The second one."""

    KVM = True


def kvm_is_usable() -> bool:
    """Whether QEMU can make an x86 virtual machine with KVM here; nothing need run in it."""
    if platform.machine() != "x86_64" or not Path("/dev/kvm").exists():
        return False
    command = ("qemu-system-x86_64", "-accel", "kvm", "-display", "none", "-S", "-monitor", "stdio")
    done = subprocess.run(command, input=b"quit\n", capture_output=True, check=False)
    return done.returncode == 0
