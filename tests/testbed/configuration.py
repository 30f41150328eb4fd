"""The configuration of the daemons of a private libvirt host."""

from pathlib import Path


def write_configuration(
    directory: Path, uuid: str, *, libvirtd: tuple[str, ...], qemu: tuple[str, ...]
) -> None:
    """Write it into the host's directory.

    Args:
        directory: the host's.
        uuid: what its libvirt reports as the host's.
        libvirtd: more lines of libvirtd.conf.
        qemu: more lines of qemu.conf.
    """
    configuration = {
        "libvirtd.conf": [
            'auth_unix_rw = "none"',
            *libvirtd,
            f'host_uuid = "{uuid}"',
            f'log_outputs = "3:file:{directory}/libvirtd.log"',
        ],
        # The confinement of the machine's own libvirt knows nothing of our directory, and a
        # /dev for each emulator cannot be made where something is mounted on /dev/kvm. Owners
        # are remembered in attributes, which a killed run would leave on loop devices.
        "qemu.conf": [
            *('security_driver = "none"', "namespaces = []", "remember_owner = 0"),
            *qemu,
        ],
        "virtlogd.conf": [f'log_outputs = "3:file:{directory}/virtlogd.log"'],
    }
    for name, lines in configuration.items():
        (directory / "etc" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (directory / "libvirtd.log").touch()
