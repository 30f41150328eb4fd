"""Where a virtual server shall be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconvirt.domain.desired import NOTHING, Desired
from reconvirt.domain.placing import Inventory
from reconvirt.manifest.host import HostManifest

HOSTS = {name: HostManifest(name, f"qemu+ssh://{name}/system") for name in ("a", "b", "c")}


def wanted(host: str | None = "a", *others: str) -> Desired:
    """A virtual server with this host."""
    return Desired("web1", None, "running", NOTHING, host=host, hosts=others)


def evacuated(*names: str) -> dict[str, HostManifest]:
    """The hosts, of which these are to be emptied."""
    return {
        name: replace(each, evacuate=True) if name in names else each
        for name, each in HOSTS.items()
    }


def test_without_a_host_it_is_everybodys() -> None:
    """Nothing is moved."""
    assert Inventory("a", HOSTS).destination(wanted(None)) is None


@pytest.mark.parametrize("own", ["a", "b", "c"])
def test_every_host_says_the_same(own: str) -> None:
    """It is moved to where it shall be, and left where that is here."""
    found = Inventory(own, HOSTS).destination(wanted("a"))

    assert (None if own == "a" else HOSTS["a"]) == found


def test_an_evacuated_host_gives_it_to_the_first_that_can_have_it() -> None:
    """One that is emptied too, or takes none, is left out."""
    hosts = evacuated("a", "b")

    assert "c" == Inventory("a", hosts).place(wanted("a", "b", "c"))
    assert "" == Inventory("a", hosts).stranded(wanted("a", "b", "c"))


def test_one_that_cannot_leave_says_why() -> None:
    """It stays, and the reason is told."""
    inventory = Inventory("a", evacuated("a"))

    assert "a" == inventory.place(wanted("a"))
    assert "a is to be emptied" in inventory.stranded(wanted("a"))
