"""Where a virtual server shall be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconvirt.domain.desired import NOTHING, Desired
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.placing import Inventory, plan_elsewhere
from reconvirt.manifest.host import HostManifest
from reconvirt.manifest.identity import derive_uuid

STRANGE = "8f1c6a0e-5d0b-4c36-9d0e-6b0f6c1f2a11"
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


def here(own: str) -> Observed:
    """It is on this host, and is ours."""
    xml = "<domain type='kvm'><name>web1</name></domain>"
    return Observed("web1", derive_uuid("web1"), None, State.SHUTOFF, own, xml, None)


@pytest.mark.parametrize("own", ["b", "c"])
def test_where_an_evacuated_one_has_arrived_it_stays(own: str) -> None:
    """On any of the hosts that its manifest lists; who has it not leaves it to the first."""
    hosts, desired = evacuated("a"), wanted("a", "b", "c")
    inventory = Inventory(own, hosts)

    assert inventory.destination(desired, here(own)) is None
    assert inventory.place(desired) == "b"
    assert Inventory("a", hosts).destination(desired, here("a")) == HOSTS["b"]
    assert Inventory("a", hosts).destinations(desired) == (HOSTS["b"], HOSTS["c"])


def test_it_goes_back_when_its_host_is_emptied_no_more() -> None:
    """Its manifest states that host."""
    assert Inventory("c", HOSTS).destination(wanted("a", "b", "c"), here("c")) == HOSTS["a"]


def test_it_goes_on_where_its_other_host_is_emptied_too() -> None:
    """To the next."""
    inventory = Inventory("b", evacuated("a", "b"))

    assert inventory.destination(wanted("a", "b", "c"), here("b")) == HOSTS["c"]


def test_one_that_cannot_leave_says_why() -> None:
    """It stays, and the reason is told."""
    inventory = Inventory("a", evacuated("a"))

    assert "a" == inventory.place(wanted("a"))
    assert "a is to be emptied" in inventory.stranded(wanted("a"))


@pytest.mark.parametrize(
    ("uuid", "stated", "ours"),
    [(derive_uuid("web1"), None, True), (STRANGE, None, False), (STRANGE, STRANGE, True)],
)
def test_a_stranger_of_the_same_name_is_left_alone(
    uuid: str, stated: str | None, ours: bool
) -> None:
    """Only the one that is meant is moved."""
    xml = "<domain type='kvm'><name>web1</name></domain>"
    observed = Observed("web1", uuid, None, State.SHUTOFF, "", xml, None)
    desired = replace(wanted("b"), uuid=stated)

    plan = plan_elsewhere(desired, observed, Inventory("a", HOSTS))

    assert plan is not None
    assert ours is bool(plan.waiting)


def test_a_host_that_nobody_describes() -> None:
    """It is not this one, and not none."""
    inventory = Inventory("a", {"a": HOSTS["a"]})

    assert ["", "b", ""] == [inventory.unknown(wanted(each)) for each in ("a", "b", None)]
