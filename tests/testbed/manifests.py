"""Manifests for tests: complete ones that boot, and what a test changes in them."""

from pathlib import Path
from typing import Any

import yaml

from testbed.guest import Guest
from testbed.host import LibvirtHost

Value = dict[str, Any]


def disk(file: Path, dev: str, *, kind: str = "qcow2", iothread: int | None = None) -> Value:
    """A virtio disk on the image `file`, seen by the guest as `dev`, as a manifest states it."""
    driver: Value = {"name": "qemu", "type": kind}
    if iothread is not None:
        driver["iothread"] = iothread
    return {
        "type": "file",
        "device": "disk",
        "driver": driver,
        "source": {"file": str(file)},
        "target": {"dev": dev, "bus": "virtio"},
    }


def interface(bridge: str, mac: str) -> Value:
    """A virtio network interface on a bridge, as a manifest states it."""
    return {
        "type": "bridge",
        "mac": {"address": mac},
        "source": {"bridge": bridge},
        "model": {"type": "virtio"},
    }


def block_disk(device: Path, dev: str) -> Value:
    """A virtio disk on a block device of the machine, as a manifest states it."""
    return {
        "type": "block",
        "device": "disk",
        "driver": {"name": "qemu", "type": "raw"},
        "source": {"dev": str(device)},
        "target": {"dev": dev, "bus": "virtio"},
    }


def cdrom(image: Path | None, dev: str, *, bus: str = "scsi") -> Value:
    """A CD drive with this medium, or an empty one, as a manifest states it."""
    drive: Value = {
        "type": "file",
        "device": "cdrom",
        "driver": {"name": "qemu", "type": "raw"},
        "target": {"dev": dev, "bus": bus},
        "readonly": True,
    }
    if image is not None:
        drive["source"] = {"file": str(image)}
    return drive


def direct_interface(parent: str, mac: str, *, mode: str = "bridge") -> Value:
    """A virtio network interface on a macvtap device, as a manifest states it."""
    return {
        "type": "direct",
        "mac": {"address": mac},
        "source": {"dev": parent, "mode": mode},
        "model": {"type": "virtio"},
    }


def switch_interface(switch: str, mac: str) -> Value:
    """A virtio network interface on an Open vSwitch bridge, as a manifest states it."""
    return {**interface(switch, mac), "virtualport": {"type": "openvswitch"}}


class Desired:
    """A directory of manifests whose virtual servers really boot on the test bed."""

    def __init__(self, path: Path, host: LibvirtHost, guest: Guest) -> None:
        self.path = path
        self._host = host
        self._guest = guest

    def manifest(
        self, name: str, *, devices: Value | None = None, metadata: Value | None = None, **spec: Any
    ) -> Path:
        """Write the manifest of `name` and return its file.

        By default: emulated s390x, 192 MiB, one of two CPUs in use, running, the console in
        the host's `console_log(name)`. Keywords replace a field of `spec`, None takes it out;
        `devices` and `metadata` replace or add one of their fields each. The file appears
        whole, at once, as an editor or git writes it.
        """
        fields: Value = {
            "type": "qemu",
            "state": "running",
            "memory": "192 MiB",
            "vcpu": {"maximum": 2, "current": 1},
            "os": self.os,
            **spec,
            "devices": {
                "consoles": [
                    {
                        "type": "pty",
                        "target": {"type": "sclp"},
                        "log": {"file": str(self._host.console_log(name)), "append": "on"},
                    }
                ],
                "memballoon": {"model": "none"},
                **(devices or {}),
            },
        }
        document = {
            "apiVersion": "reconvirt/v1",
            "kind": "VirtualServer",
            "metadata": {"name": name, **(metadata or {})},
            "spec": {key: value for key, value in fields.items() if value is not None},
        }
        return self._write(name, document)

    def _write(self, name: str, document: Value) -> Path:
        path = self.path / f"{name}.yaml"
        aside = self.path / f".{name}.writing"
        aside.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        aside.replace(path)
        return path

    def host(self, host: LibvirtHost, name: str = "", **spec: Any) -> Path:
        """Write the manifest of a host that listens; perhaps by another name."""
        name = name or host.NAME
        document = {
            "apiVersion": "reconvirt/v1",
            "kind": "Host",
            "metadata": {"name": name},
            "spec": {
                "uri": host.remote_uri,
                "migration": {"uri": f"tcp://{host.address}", "port_max": host.port_max},
                "storage": {"shared": [str(host.images)]},
                **spec,
            },
        }
        return self._write(name, document)

    @property
    def os(self) -> Value:
        """What the guest is booted from, as a manifest states it."""
        return {
            "arch": "s390x",
            "machine": "s390-ccw-virtio",
            "kernel": str(self._guest.kernel),
            "initrd": str(self._guest.initrd),
            "cmdline": self._guest.cmdline,
        }

    def remove(self, name: str) -> None:
        """Delete the manifest of `name`."""
        (self.path / f"{name}.yaml").unlink()
