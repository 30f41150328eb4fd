"""Another release of QEMU at a host, as its libvirt sees it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lxml import etree

from testbed.host import LibvirtHost

Change = Callable[[etree._Element], None]


@contextmanager
def another_emulator(
    host: LibvirtHost, change: Change, *, arch: str = "s390x", kind: str = "qemu"
) -> Iterator[None]:
    """As if an emulator of this host were of another release, or its processor another one.

    libvirt asks an emulator once what it can do, keeps the answer in a file and believes it for as
    long as the emulator stays the same. `change` changes the answer.
    """
    host.virsh("domcapabilities", "--arch", arch, "--virttype", kind)
    (file,) = (
        each
        for each in (host.directory / "cache" / "qemu" / "capabilities").glob("*.xml")
        if f"<emulator>/usr/bin/qemu-system-{arch}<" in each.read_text(encoding="utf-8")
    )
    before = file.read_bytes()
    root = etree.fromstring(before)
    change(root)
    _write(host, file, etree.tostring(root))
    try:
        yield
    finally:
        _write(host, file, before)


def _write(host: LibvirtHost, file: Path, answer: bytes) -> None:
    file.write_bytes(answer)
    host.restart_libvirtd()
