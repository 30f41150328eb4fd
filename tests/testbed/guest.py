"""The tiny s390x guest, and the plainest domain that boots it."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Guest:
    """Where the guest's kernel and initial RAM disk stand, readable by QEMU's user."""

    kernel: Path
    initrd: Path
    cmdline: str = "console=ttysclp0 rdinit=/init"

    @classmethod
    def build_into(cls, directory: Path) -> "Guest":
        """Build the guest (once for the repository) and put a copy into `directory`.

        A copy, because QEMU's user need not be able to enter the repository's directory and
        libvirt changes the owner of what it boots.
        """
        subprocess.run([REPOSITORY / "scripts" / "build-guest"], check=True)
        names = ("vmlinuz-s390x", "initrd-s390x.gz")
        kernel, initrd = (
            Path(shutil.copy(REPOSITORY / ".guest" / name, directory / name)) for name in names
        )
        return cls(kernel=kernel, initrd=initrd)


def domain_xml(name: str, guest: Guest, console_log: Path, *, devices: str = "") -> str:
    """A domain with 192 MiB, one of two CPUs in use, and its console in `console_log`.

    For virtual servers that exist without the program, and for testing the test bed. The
    XML in `devices` is added.
    """
    return f"""
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>192</memory>
  <vcpu current='1'>2</vcpu>
  <os>
    <type arch='s390x' machine='s390-ccw-virtio'>hvm</type>
    <kernel>{guest.kernel}</kernel>
    <initrd>{guest.initrd}</initrd>
    <cmdline>{guest.cmdline}</cmdline>
  </os>
  <devices>
    <console type='pty'>
      <target type='sclp'/>
      <log file='{console_log}' append='on'/>
    </console>
    <memballoon model='none'/>{devices}
  </devices>
</domain>
"""
