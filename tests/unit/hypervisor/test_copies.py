"""Images of copies, with libvirt's driver for tests."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

import libvirt
import pytest

from reconvirt.hypervisor.copies import remove_image

DOMAIN = """
<domain type='test'>
  <name>web1</name>
  <memory>1024</memory>
  <os><type>hvm</type><kernel>%(kernel)s</kernel></os>
  <devices>
    <disk type='file' device='disk'><source file='%(path)s'/><target dev='vda'/></disk>
  </devices>
</domain>
"""


@pytest.fixture
def connection() -> Iterator[libvirt.virConnect]:
    found = libvirt.open("test:///default")
    yield found
    found.close()


@pytest.mark.parametrize("path", ["/srv/web1.qcow2", "/srv/r&d <1>.qcow2", '/srv/the "old" one'])
def test_one_that_a_virtual_server_has_stays(connection: libvirt.virConnect, path: str) -> None:
    """However its path is spelt in XML."""
    spelt = escape(path, {'"': "&quot;"})
    connection.defineXML(DOMAIN % {"path": spelt, "kernel": "/srv/vmlinuz"})

    assert remove_image(connection, path, "token") in ("web1 has it", "web2 has it")
    connection.lookupByName("web1").undefine()
    connection.defineXML((DOMAIN % {"path": "/srv/x", "kernel": spelt}).replace("web1<", "web2<"))
    assert remove_image(connection, path, "token") == "web2 has it"
