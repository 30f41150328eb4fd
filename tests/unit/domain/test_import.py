"""Manifests that are read out of domains: what they say, and that they lead to no change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from example_domains import DOMAINS, domain, load, spec_of, started, text_of_import
from reconvirt.domain.actions import Define
from reconvirt.domain.fragment import contains, index_pieces, split_fragment
from reconvirt.domain.import_check import CannotImport, import_domain
from reconvirt.domain.importer import draft_manifest
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.plan import make_plan, render
from reconvirt.domain.xmltree import parse_xml
from virtual_servers import observe, stored, text_of, verbs

# What libvirt adds by itself, and what no manifest can say.
IMPLIED = (
    *("currentMemory", "vcpu", "os", "cpu", "clock", "on_poweroff", "on_reboot", "on_crash"),
    *("genid", "metadata", "qemu:commandline", "devices.emulator[", "devices.controller[pci/"),
    *("devices.controller[ide/", "devices.controller[fdc/", "devices.controller[sata/"),
    *("devices.controller[virtio-serial/", "devices.console[serial#1]", "devices.input[mouse/ps2"),
    *("devices.input[keyboard/ps2", "devices.audio[1#1]", "devices.panic[s390", "devices.memb"),
)
GRANTED = {
    "graphics": {"port": "-1", "autoport": "yes", "listen": "127.0.0.1"},
    "graphics/listen": {"type": "address"},
    "hostdev": {"managed": "no"},
    "watchdog": {"action": "reset"},
    "video/model": {"heads": "1", "primary": "yes"},
    "console/target": {"port": "0"},
    "serial/target": {"port": "0"},
}
SECRETS = ("passwd", "passwdValidTo")


def without_granted(xml: str) -> Any:
    """The domain without what devices say though libvirt takes it for granted, and secrets."""
    root = parse_xml(xml)
    for path, granted in GRANTED.items():
        for element in root.iterfind(f"devices/{path}"):
            for name in [n for n, value in granted.items() if element.get(n) == value]:
                del element.attrib[name]
            for name in SECRETS:
                element.attrib.pop(name, None)
    for path in ("serial/target/model", "graphics/listen"):
        for element in root.findall(f"devices/{path}"):
            if path.endswith("model") or not element.attrib:
                element.getparent().remove(element)
    return root


@pytest.mark.parametrize("addresses", [False, True])
@pytest.mark.parametrize("name", DOMAINS)
class TestAnyDomain:
    def test_its_manifest_leads_to_no_change(self, name: str, addresses: bool) -> None:
        """Shut off or running; not even the mark is written."""
        desired = load(text_of_import(name, addresses))

        assert make_plan(desired, domain(name)).empty
        assert make_plan(replace(desired, state="any"), started(name)).empty

    def test_nothing_is_left_out_but_what_libvirt_fills_in(
        self, name: str, addresses: bool
    ) -> None:
        """A virtual server that is made from the manifest says what this one says."""
        seen = domain(name)
        new = index_pieces(parse_xml(render(load(text_of_import(name, addresses)))))

        for key, element in index_pieces(without_granted(seen.config)).items():
            for address in [] if addresses else element.findall("address"):
                element.remove(address)
            there = key in new and contains(new[key], element)
            assert there or key.startswith(IMPLIED)

    def test_from_then_on_it_is_ours(self, name: str, addresses: bool) -> None:
        """The first change marks it; a device that is dropped from the manifest goes then."""
        seen = domain(name)
        desired = load(text_of_import(name, addresses))
        changed = replace(
            desired,
            statement=replace(
                desired.statement, fields={**desired.statement.fields, "title": "new title"}
            ),
        )

        made = make_plan(changed, seen)

        assert ["define"] == verbs(made)
        assert ["title"] == [change.field for change in made.steps[0].changes]
        assert make_plan(changed, stored(made, seen)).empty

    def test_reading_it_again_writes_the_same(self, name: str, addresses: bool) -> None:
        """The text depends on nothing but the domain."""
        again = import_domain(domain(name), addresses=addresses).text

        assert text_of_import(name, addresses) == again


def test_there_are_domains_of_many_makes() -> None:
    """And each is found."""
    assert 15 <= len(DOMAINS)
    assert {"s390x", "pc", "q35", "aarch64"} == {name.partition("-")[0] for name in DOMAINS}


class TestDefaults:
    def test_what_libvirt_fills_in_is_left_out(self) -> None:
        """A small virtual server has a small manifest."""
        assert {
            "state": "shutoff",
            "memory": "1 GiB",
            "vcpu": 1,
            "os": {"arch": "s390x", "machine": "s390-ccw-virtio-7.2"},
            "devices": {"consoles": [{"target": {"type": "sclp"}}]},
        } == spec_of(domain("s390x-minimal"))

    def test_what_differs_from_a_default_is_stated(self) -> None:
        """Also where the default would add something."""
        spec = spec_of(domain("q35-arguments"))

        assert {"acpi": False, "apic": True} == spec["features"]
        assert [{"type": "usb", "model": "none"}] == spec["devices"]["controllers"]
        assert {"model": "none"} == spec["devices"]["memballoon"]

    def test_channel_addresses_are_always_stated(self) -> None:
        """The guest names its interfaces by them."""
        [disk, *_] = spec_of(domain("s390x-disks"))["devices"]["disks"]

        address = {"type": "ccw", "cssid": 0xFE, "ssid": 0, "devno": 1}
        assert address == disk["address"]

    def test_other_addresses_only_where_they_are_wished(self) -> None:
        """Or where libvirt would choose another one."""
        few, all_ = (
            spec_of(domain("q35-server"), addresses=each)["devices"]["disks"]
            for each in (False, True)
        )

        assert [False, True] == ["address" in each for each in few]
        assert all("address" in each for each in all_)

    def test_a_console_that_shows_the_first_serial_port_is_left_out(self) -> None:
        """libvirt adds it."""
        devices = spec_of(domain("pc-old"))["devices"]

        assert [{"target": {"type": "isa-serial"}}] == devices["serials"]
        assert "consoles" not in devices

    @pytest.mark.parametrize(
        ("state", "stated"),
        [
            (State.RUNNING, None),
            (State.BLOCKED, None),
            (State.SHUTOFF, "shutoff"),
            (State.PAUSED, "any"),
            (State.CRASHED, "any"),
        ],
    )
    def test_the_state_it_is_in(self, state: State, stated: str | None) -> None:
        """running is the default; one that somebody has stopped is left in its state."""
        draft = draft_manifest(replace(started("s390x-minimal"), state=state))

        assert stated == draft.manifest["spec"].get("state")


class TestUnknown:
    @pytest.mark.parametrize(
        ("name", "keys"),
        [
            ("s390x-minimal", set()),
            ("s390x-disks", set()),
            ("s390x-kernel", set()),
            ("s390x-emulated", set()),
            ("s390x-tape", set()),
            ("q35-arguments", set()),
            ("pc-old", {"clock", "devices.sound[ich6#1]"}),
            (
                "s390x-network",
                {"devices.interface[02:32:1b:00:00:03]", "devices.interface[02:32:1b:00:00:04]"},
            ),
            ("s390x-passthrough", {"devices.hostdev[pci/0/0/0/0#1]"}),
            (
                "s390x-tuned",
                {
                    *("memoryBacking", "blkiotune", "iothreadids", "cputune", "numatune"),
                    *("seclabel[selinux#1]", "seclabel[dac#1]", "devices.disk[vda]"),
                },
            ),
            ("aarch64-virt", {"devices.interface[52:54:00:aa:bb:0e]"}),
        ],
    )
    def test_what_no_key_can_say_goes_into_spec_xml(self, name: str, keys: set[str]) -> None:
        """And only that."""
        xml = spec_of(domain(name)).get("xml", "<domain/>")

        assert keys == set(split_fragment(xml))

    def test_elements_that_only_are_there_say_something(self) -> None:
        """Huge pages are asked for by an empty element."""
        root = parse_xml(spec_of(domain("s390x-tuned"))["xml"])

        assert ["hugepages", "locked"] == [each.tag for each in root.find("memoryBacking")]

    def test_devices_that_only_order_tells_apart_go_all_or_none(self) -> None:
        """One of the two mice has something that no key can say."""
        spec = spec_of(domain("s390x-twins"))

        assert ["sclp"] == [each["target"]["type"] for each in spec["devices"]["consoles"]]
        assert 2 == len(spec["devices"]["rngs"])
        assert "inputs" not in spec["devices"]
        assert [
            *("devices.interface[52:54:00:aa:bb:0f]", "devices.interface[52:54:00:aa:bb:0f#2]"),
            *("devices.console[virtio#1]", "devices.console[virtio#2]"),
            *("devices.input[mouse/virtio#1]", "devices.input[mouse/virtio#2]"),
        ] == list(split_fragment(spec["xml"]))

    def test_what_is_handed_through_to_qemu_is_told_of(self) -> None:
        """A manifest could not say it on most hosts."""
        text = import_domain(domain("q35-arguments")).text

        assert "# <commandline> of http://libvirt.org/schemas/domain/qemu/1.0 is not stated" in text
        assert "pvpanic" not in text


class TestSecrets:
    @pytest.mark.parametrize(
        ("name", "secret"), [("pc-old", "s3cr3t"), ("q35-arguments", "geheim")]
    )
    def test_a_password_of_graphics_is_never_written(self, name: str, secret: str) -> None:
        """It is told that there is one, and it stays where it is."""
        seen = domain(name)
        imported = import_domain(seen, addresses=True)

        desired = replace(load(imported.text), uuid=seen.uuid)
        title = {**desired.statement.fields, "title": "new"}
        made = make_plan(replace(desired, statement=replace(desired.statement, fields=title)), seen)

        assert secret in seen.config
        assert secret not in imported.text
        assert "2030-01-01" not in imported.text
        assert "# The password of its graphics is not written here" in imported.text
        [define] = [step.action for step in made.steps if isinstance(step.action, Define)]
        assert secret in define.xml


class TestPlugged:
    DISK: str = (
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
        "<source file='/plugged.img' index='3'/><backingStore/><target dev='vdx' bus='virtio'/>"
        "<alias name='virtio-disk9'/><address type='ccw' cssid='0xfe' ssid='0x0' devno='0x0b00'/>"
        "</disk>"
    )
    NIC: str = (
        "<interface type='bridge'><mac address='52:54:00:aa:00:01'/><source bridge='br0'/>"
        "<target dev='vnet5'/><model type='virtio'/><alias name='net9'/></interface>"
    )

    def plug(self, *parts: str) -> Observed:
        """A running virtual server with more devices than its configuration."""
        seen = started("s390x-minimal")
        root = parse_xml(seen.live or "")
        for part in parts:
            root.find("devices").append(parse_xml(part))
        return replace(seen, live=text_of(root))

    def test_what_only_runs_becomes_a_hotplug_device(self) -> None:
        """Without what libvirt has added at the start."""
        seen = self.plug(self.DISK, self.NIC)

        devices = spec_of(seen)["devices"]

        assert [
            {
                "type": "file",
                "driver": {"type": "raw"},
                "source": {"file": "/plugged.img"},
                "target": {"dev": "vdx"},
                "persistent": False,
            }
        ] == devices["disks"]
        assert [False] == [each["persistent"] for each in devices["interfaces"]]
        made = make_plan(load(import_domain(seen).text), seen)
        assert made.empty
        assert () == made.unlisted

    def test_what_no_key_can_say_of_it_is_told_of(self) -> None:
        """It stays plugged, as drift."""
        seen = self.plug(self.DISK.replace("<backingStore/>", "<encryption format='luks'/>"))

        imported = import_domain(seen)

        assert "# devices.disks[vdx] is plugged in by hand and is not stated here." in imported.text
        assert ["devices.disks[vdx]"] == [
            change.field for change in make_plan(load(imported.text), seen).unlisted
        ]

    def test_what_waits_for_the_next_start_is_told(self) -> None:
        """The configuration counts; what runs differs from it."""
        seen = started("s390x-kernel")
        assert seen.live is not None
        seen = replace(seen, live=seen.live.replace("/boot/guest/image", "/boot/guest/old"))

        imported = import_domain(seen)

        assert ["os.kernel"] == [change.field for change in imported.waiting]


class TestImpossible:
    def test_a_piece_that_does_not_compare_equal_is_left_out(self) -> None:
        """What a manifest does not state is never compared."""
        seen = domain("pc-old")

        draft = draft_manifest(seen, frozenset({"xml.clock"}))

        assert "<clock" not in draft.manifest["spec"]["xml"]
        assert any(each.startswith("clock cannot be stated") for each in draft.comments)

    def test_a_field_that_does_not_fit_is_tried_in_spec_xml(self) -> None:
        """Or left out, if that fails as well."""
        draft = draft_manifest(domain("s390x-tuned"), frozenset({"memtune.hard_limit"}))

        assert "hard_limit" not in draft.manifest["spec"]["memtune"]
        assert "<hard_limit" in draft.manifest["spec"]["xml"]

    def test_a_name_that_no_manifest_can_have(self) -> None:
        """It is told, with the reason."""
        seen = domain("s390x-minimal")
        seen = replace(seen, name=" x", config=seen.config.replace(">minimal<", "> x<"))

        with pytest.raises(CannotImport, match=r"metadata\.name"):
            import_domain(seen)

    def test_what_cannot_be_stated_does_not_stop_the_rest(self) -> None:
        """An architecture alone is enough to be a virtual server."""
        xml = domain("s390x-minimal").config.replace("port='0'", "port='-7'")

        assert make_plan(load(import_domain(observe(xml)).text), observe(xml)).empty
