"""A device's address when its type changes."""

from __future__ import annotations

from lxml import etree

from reconvirt.domain.kinds.common import ADDRESS_ROWS


def test_another_type_keeps_no_number_of_the_old_one() -> None:
    """libvirt's schema takes no PCI numbers, and no zPCI ones, in a channel address."""
    disk = etree.fromstring(
        "<disk><address type='pci' domain='0x0001' bus='0x00' slot='0x00' function='0x0'>"
        "<zpci uid='0x0001' fid='0x00000000'/></address></disk>"
    )
    (kind,) = [row for row in ADDRESS_ROWS if row.name == "address.type"]

    kind.place.put(disk, "pci")
    assert disk.find("address/zpci") is not None, "nothing has changed"
    kind.place.put(disk, "ccw")

    assert etree.tostring(disk) == b'<disk><address type="ccw"/></disk>'
