"""The package on a machine of its own, as an administrator installs and uses it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed.guest import REPOSITORY
from testbed.lacks import require_root
from testbed.machine import Machine

SOON = 120.0
IMAGES = "/var/lib/libvirt/images"
MANIFEST = """apiVersion: reconvirt/v1
kind: VirtualServer
metadata: {{name: {name}}}
spec:
  type: qemu
  memory: 192 MiB
  vcpu: {{maximum: 3, current: {vcpus}}}
  os:
    arch: s390x
    machine: s390-ccw-virtio
    kernel: {images}/vmlinuz-s390x
    initrd: {images}/initrd-s390x.gz
    cmdline: console=ttysclp0 rdinit=/init
  devices:
    consoles:
      - type: pty
        target: {{type: sclp}}
        log: {{file: /var/log/libvirt/{name}.log, append: "on"}}
    memballoon: {{model: none}}
"""


@contextmanager
def machine_with_package(packages: Path, kind: str = "plain") -> Iterator[Machine]:
    """A machine of a kind that scripts/build-machine knows, with the package installed.

    The test is skipped without root; it fails where the machine cannot be built.

    Args:
        packages: an empty directory.
        kind: which machine.
    """
    require_root()
    subprocess.run([REPOSITORY / "scripts" / "build-guest"], check=True)
    subprocess.run([REPOSITORY / "scripts" / "build-deb", packages], check=True)
    mounts = {"/mnt/packages": packages, "/mnt/guest": REPOSITORY / ".guest"}
    with Machine(packages, mounts, kind) as machine:
        machine.shell(f"cp /mnt/guest/*s390x* {IMAGES}/")
        machine.shell(
            "apt-get install -y /mnt/packages/*.deb || dpkg --install /mnt/packages/*.deb"
        )
        yield machine


def manifest(machine: Machine, name: str = "web1", vcpus: int = 1) -> None:
    text = MANIFEST.format(name=name, vcpus=vcpus, images=IMAGES)
    machine.write(f"/etc/reconvirt/desired/{name}.yaml", text)


def show(machine: Machine, what: str) -> str:
    return machine("systemctl", "show", "--value", "--property", what, "reconvirtd")


def vcpus(machine: Machine, name: str) -> str:
    return machine("virsh", "vcpucount", name, "--live", "--current")


def entries(machine: Machine, *matches: str) -> list[dict[str, Any]]:
    """The entries of the journal with these fields."""
    machine("journalctl", "--sync")
    found = machine("journalctl", "--unit=reconvirtd", "--output=json", *matches)
    return [json.loads(line) for line in found.splitlines()]


def running(machine: Machine, name: str) -> bool:
    return machine("virsh", "domstate", name, status=None) == "running"


def qemu(machine: Machine, name: str) -> str:
    """The process of a virtual server: another one, another start."""
    return machine("cat", f"/run/libvirt/qemu/{name}.pid")
