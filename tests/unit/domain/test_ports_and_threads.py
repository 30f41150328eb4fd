"""What libvirt says in several places at once: spare ports, I/O threads, vCPUs, boot devices."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconvirt.domain.actions import AddIothread, DeleteIothread
from reconvirt.domain.joint_places import (
    BootDevices,
    CurrentVcpus,
    IothreadCount,
    IothreadIds,
    ListenAddress,
    SparePorts,
    iothread_ids,
)
from reconvirt.domain.xmltree import parse_xml
from strategies import wanted
from virtual_servers import (
    PC,
    Spec,
    actions,
    canonical,
    defined,
    definition,
    disk,
    plan,
    restarted,
    shut_off,
    spec,
    stored,
    text_of,
    verbs,
    waits,
)


def port(index: int) -> str:
    return f"<controller type='pci' index='{index}' model='pcie-root-port'/>"


def on_bus(bus: int) -> str:
    return f"<rng><address type='pci' bus='0x{bus:02x}'/></rng>"


def ports(number: int, **more: object) -> Spec:
    """A virtual server on q35 with spare ports."""
    return spec(os=PC, devices={"spare_ports": number}, **more)


class TestSparePorts:
    @pytest.mark.parametrize(
        ("devices", "free"),
        [
            ("", 0),
            (port(1), 1),
            (port(1) + on_bus(1), 0),
            (port(1) + port(2) + on_bus(2), 1),
            (port(1) + on_bus(0), 1),
            (port(1) + port(2) + on_bus(1) + on_bus(2), 0),
            ("<controller type='pci' model='pcie-root-port'/>" + port(3), 2),
            ("<controller type='pci' index='1' model='pcie-to-pci-bridge'/>", 0),
        ],
    )
    def test_a_port_is_free_that_no_device_uses(self, devices: str, free: int) -> None:
        """Those that libvirt has not numbered yet are."""
        root = parse_xml(f"<domain><devices>{devices}</devices></domain>")

        assert str(free) == SparePorts().get(root)

    def test_as_many_are_added_as_are_missing(self) -> None:
        """libvirt numbers them and gives them addresses."""
        root = parse_xml(f"<domain><devices>{port(1)}{port(2)}{on_bus(1)}</devices></domain>")

        SparePorts().put(root, "3")

        assert "3" == SparePorts().get(root)
        assert 4 == len(root.findall("devices/controller"))

    def test_more_than_stated_are_fine(self) -> None:
        """A device that is given back leaves its port."""
        seen = defined(wanted(ports(4)))

        assert plan(ports(2, state="shutoff"), seen).empty

    def test_none_is_ever_taken_away(self) -> None:
        """Another device may have come to use it."""
        seen = defined(wanted(ports(4)))

        after = stored(plan(spec(os=PC, state="shutoff"), seen), seen)

        assert 4 == len(parse_xml(after.config).findall("devices/controller"))

    def test_a_port_that_was_used_live_is_nothing_to_wait_for(self) -> None:
        """That is what it was for: only the configuration counts."""
        seen = restarted(defined(wanted(ports(1))))
        root = parse_xml(seen.live or "")
        for controller in root.findall("devices/controller"):
            controller.set("index", "1")
        root.find("devices").append(parse_xml(on_bus(1)))

        assert plan(ports(1), replace(seen, live=text_of(root))).empty


class TestIothreads:
    def test_ids_of_ones_own(self) -> None:
        """These and no others, and their number follows."""
        root = definition(plan(spec(iothreadids=[2, 7]), None))

        assert "2" == root.findtext("iothreads")
        assert ["2", "7"] == [each.get("id") for each in root.iterfind("iothreadids/iothread")]

    def test_they_come_and_go_live(self) -> None:
        """By their ids, those that are used excepted."""
        used = {"disks": [disk("a", driver={"type": "raw", "iothread": 2})]}
        seen = restarted(defined(wanted(spec(iothreadids=[2, 3], devices=used))))

        made = plan(spec(iothreadids=[5], devices={}), seen)

        assert [AddIothread(5), DeleteIothread(3)] == [
            each for each in actions(made) if isinstance(each, AddIothread | DeleteIothread)
        ]
        assert (
            "a device of the running virtual server uses I/O thread 2" == waits(made)["iothreadids"]
        )

    def test_what_is_set_of_one_that_stays_stays(self) -> None:
        """Its pool of threads is no business of the list's."""
        root = parse_xml(
            "<domain><iothreads>2</iothreads><iothreadids><iothread id='1'/>"
            "<iothread id='4' thread_pool_max='8'/></iothreadids></domain>"
        )

        IothreadIds().put(root, "4,6")

        assert [("4", "8"), ("6", None)] == [
            (each.get("id"), each.get("thread_pool_max"))
            for each in root.iterfind("iothreadids/iothread")
        ]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ({"iothreadids": [1, 2]}, {}),
            ({"iothreadids": [1, 2]}, {"iothreadids": []}),
            ({"iothreadids": [1, 2], "iothreads": 2}, {}),
            ({"iothreads": 3}, {}),
            ({"iothreads": 3}, {"iothreads": 0}),
        ],
    )
    def test_what_is_stated_no_more_leaves_none(self, before: Spec, after: Spec) -> None:
        """Neither the number nor the ids stay behind."""
        seen = defined(wanted(spec(**before)))

        seen = stored(plan(spec(state="shutoff", **after), seen), seen)

        assert frozenset() == iothread_ids(parse_xml(seen.config))
        assert plan(spec(state="shutoff", **after), seen).empty

    def test_the_number_may_stay_without_the_ids(self) -> None:
        """libvirt chooses them again."""
        seen = defined(wanted(spec(iothreads=2, iothreadids=[4, 5])))

        root = definition(plan(spec(iothreads=2, state="shutoff"), seen))

        assert "2" == root.findtext("iothreads")
        assert None is root.find("iothreadids")

    @given(st.sets(st.integers(1, 9), max_size=5), st.integers(0, 8))
    def test_the_ids_that_libvirt_will_choose_are_known(self, listed: set[int], more: int) -> None:
        """The lowest that are free."""
        count = len(listed) + more
        inner = "".join(f"<iothread id='{each}'/>" for each in listed)
        root = parse_xml(
            f"<domain><iothreads>{count}</iothreads><iothreadids>{inner}</iothreadids></domain>"
        )

        ids = iothread_ids(root)

        assert count == len(ids)
        assert listed <= ids
        assert all(each - 1 in ids | {0} for each in ids - listed)

    def test_the_highest_idle_ones_go_first(self) -> None:
        """One that a disk or a controller uses stays as long as it can."""
        root = parse_xml(
            "<domain><iothreads>3</iothreads><iothreadids><iothread id='1'/><iothread id='2'/>"
            "<iothread id='3'/></iothreadids><devices><controller><driver iothread='3'/>"
            "</controller></devices></domain>"
        )

        IothreadCount().put(root, "2")

        assert frozenset({1, 3}) == iothread_ids(root)


class TestVcpus:
    def test_which_ones_are_on_contradicts_a_new_number(self) -> None:
        """libvirt writes <vcpus> after a hotplug."""
        root = parse_xml(
            "<domain><vcpu current='2'>4</vcpu><vcpus><vcpu id='0' enabled='yes'/></vcpus></domain>"
        )

        CurrentVcpus().put(root, "3")

        assert ("3", None) == (CurrentVcpus().get(root), root.find("vcpus"))

    def test_the_maximum_may_grow_alone(self) -> None:
        """What is on stays on."""
        seen = shut_off(spec(vcpu={"maximum": 4, "current": 2}))

        made = definition(plan(spec(vcpu={"maximum": 8, "current": 2}, state="shutoff"), seen))

        assert ("8", "2") == (made.findtext("vcpu"), made.find("vcpu").get("current"))


class TestBoot:
    def test_their_order_counts(self) -> None:
        """Another order is another list."""
        seen = shut_off(spec(os=PC | {"boot": ["hd", "network"]}))
        after = spec(os=PC | {"boot": ["network", "hd"]}, state="shutoff")

        root = definition(plan(after, seen))

        assert "network,hd" == BootDevices().get(root)

    def test_the_whole_list_goes(self) -> None:
        """Devices may say their order then."""
        seen = shut_off(spec(os=PC | {"boot": ["hd", "network"]}))

        root = definition(plan(spec(os=PC, state="shutoff"), seen))

        assert None is BootDevices().get(root)


def test_where_graphics_listen_is_said_in_one_place() -> None:
    """The attribute must not contradict the element."""
    root = parse_xml(
        "<graphics listen='0.0.0.0'><listen type='address' address='0.0.0.0'/></graphics>"
    )

    ListenAddress().put(root, "127.0.0.1")

    assert '<graphics><listen address="127.0.0.1" type="address"></listen></graphics>' == canonical(
        root
    )
    ListenAddress().drop(root)
    assert '<graphics><listen type="address"></listen></graphics>' == canonical(root)


def test_a_new_virtual_server_with_all_of_them_is_as_wanted() -> None:
    """They do not get into each other's way."""
    after = spec(
        os=PC | {"boot": ["hd"]},
        iothreads=2,
        iothreadids=[3, 9],
        devices={"spare_ports": 3, "graphics": [{"type": "vnc", "listen": {"address": "::1"}}]},
    )

    seen = defined(wanted(after))

    assert ["start"] == verbs(plan(after, seen))
