"""Hotplug devices, which are plugged into what runs only, and what stands behind a device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconvirt.domain.actions import Attach, Define, Detach
from reconvirt.domain.effects import Effect
from reconvirt.domain.observed import Observed
from reconvirt.domain.xmltree import parse_xml, reach
from strategies import wanted
from virtual_servers import (
    Spec,
    actions,
    as_started,
    change_live,
    defined,
    definition,
    devices,
    disk,
    nic,
    observe,
    plan,
    refusals,
    restarted,
    shut_off,
    spec,
    stored,
    text_of,
    verbs,
    waits,
)

PLUGGED = {"persistent": False}
HOTPLUG = [
    ("disks", disk("b")),
    ("interfaces", nic(7)),
    ("controllers", {"type": "scsi", "index": 3}),
    ("hostdevs", {"type": "mdev", "model": "vfio-ccw", "source": {"address": {"uuid": "a" * 36}}}),
    ("channels", {"target": {"name": "org.example.0"}}),
    ("inputs", {"type": "keyboard", "bus": "virtio"}),
    ("rngs", {"backend": {"model": "builtin"}}),
]


def plug(seen: Observed, xml: str) -> Observed:
    """What runs, with one more device."""
    root = parse_xml(seen.live or "")
    reach(root, "devices").append(parse_xml(xml))
    return replace(seen, live=text_of(as_started(root)))


class TestHotplugDevices:
    @pytest.mark.parametrize(("kind", "device"), HOTPLUG)
    def test_they_are_plugged_and_not_configured(self, kind: str, device: Spec) -> None:
        """The next start brings them no more, and they are plugged anew then."""
        after = devices(**{kind: [device | PLUGGED]})
        seen = restarted(defined(wanted(after)))

        made = plan(after, seen)

        [attach] = actions(made)
        assert isinstance(attach, Attach)
        assert not [step for step in made.steps if isinstance(step.action, Define)]
        assert None is parse_xml(seen.config).find(f"devices/{parse_xml(attach.xml).tag}")

    @pytest.mark.parametrize(("kind", "device"), HOTPLUG)
    def test_one_that_is_plugged_is_as_wanted(self, kind: str, device: Spec) -> None:
        """And it is given back when no manifest lists it."""
        after = devices(**{kind: [device | PLUGGED]})
        seen = restarted(defined(wanted(after)))
        made = plan(after, seen)
        seen = plug(stored(made, seen), actions(made)[0].xml)

        assert plan(after, seen).empty
        assert ["record", "detach"] == verbs(plan(spec(), seen))

    def test_one_that_is_off_has_none(self) -> None:
        """Its configuration is as wanted without."""
        after = devices(disks=[disk("b") | PLUGGED]) | {"state": "shutoff"}

        assert ["define"] == verbs(plan(after, None))
        assert [] == definition(plan(after, None)).findall("devices/disk")
        assert plan(after, defined(wanted(after))).empty

    def test_becoming_persistent_keeps_the_address(self) -> None:
        """The guest shall see it where it is, also after the next start."""
        after = devices(disks=[disk("a"), disk("b")])
        seen = restarted(defined(wanted(devices(disks=[disk("a"), disk("b") | PLUGGED]))))
        seen = plug(
            seen,
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
            "<source file='/images/b.img'/><target dev='vdb' bus='virtio'/>"
            "<address type='ccw' cssid='0xfe' ssid='0x0' devno='0x0042'/></disk>",
        )

        made = plan(after, seen)

        address = definition(made).find("devices/disk/target[@dev='vdb']/../address")
        assert "0x0042" == address.get("devno")
        assert [] == actions(made)

    def test_becoming_a_hotplug_device_leaves_it_plugged(self) -> None:
        """Only the configuration loses it."""
        seen = restarted(defined(wanted(devices(disks=[disk("a"), disk("b")]))))

        made = plan(devices(disks=[disk("a"), disk("b") | PLUGGED]), seen)

        assert [] == actions(made)
        assert ["vda"] == [
            each.get("dev") for each in definition(made).iterfind("devices/disk/target")
        ]

    def test_those_that_only_order_tells_apart_are_counted_last(self) -> None:
        """The configuration counts without them."""
        key = {"type": "keyboard", "bus": "virtio"}
        after = devices(inputs=[key | PLUGGED | {"alias": {"name": "ua-2"}}, key])
        seen = restarted(defined(wanted(after)))

        made = plan(after, seen)

        assert ["attach"] == [action.verb for action in actions(made)]
        assert [] == [step for step in made.steps if isinstance(step.action, Define)]

    def test_one_on_a_slow_bus_waits(self) -> None:
        """Only what can be plugged is."""
        after = devices(disks=[disk("a", target={"dev": "hda"}) | PLUGGED])

        made = plan(after, restarted(shut_off(spec())))

        assert {"devices.disks[hda]": "a disk on the bus ide cannot be hotplugged"} == waits(made)

    def test_the_number_of_a_new_one_is_free_in_the_configuration_too(self) -> None:
        """Or the next start would bring another device there."""
        address = {"type": "ccw", "cssid": 0xFE, "ssid": 0, "devno": 0}
        config = defined(wanted(devices(disks=[disk("a", address=address)])))
        seen = observe(config.config, as_started(shut_off(spec()).config))

        made = plan(devices(disks=[disk("a", address=address), disk("b") | PLUGGED]), seen)

        numbers = {
            parse_xml(each.xml).find("target").get("dev"): parse_xml(each.xml)
            .find("address")
            .get("devno")
            for each in actions(made)
        }
        assert {"vda": "0x0000", "vdb": "0x0001"} == numbers


class TestGivingBack:
    @pytest.mark.parametrize(
        ("kind", "device", "element", "other"),
        [
            ("interfaces", nic(7), "devices/interface/source", {"bridge": "br9"}),
            (
                "channels",
                {"target": {"name": "org.example.0"}, "source": {"path": "/s"}},
                "devices/channel/source",
                {"path": "/other"},
            ),
        ],
    )
    def test_what_stands_behind_it_is_looked_at_first(
        self, kind: str, device: Spec, element: str, other: dict[str, str]
    ) -> None:
        """Another thing behind the same name is nobody's to take."""
        seen = restarted(defined(wanted(devices(**{kind: [device]}))))

        made = plan(spec(), change_live(seen, element, **other))

        assert [] == actions(made)
        [reason] = refusals(made).values()
        assert next(iter(other.values())) in reason
        assert "detach" in [action.verb for action in actions(plan(spec(), seen))]

    def test_one_without_an_alias_waits(self) -> None:
        """There is no other safe way to name it."""
        seen = defined(wanted(devices(disks=[disk("a")])))

        made = plan(spec(), observe(seen.config, seen.config))

        assert {"devices.disks[vda]": "libvirt gives the device no alias to detach it by"} == waits(
            made
        )

    @pytest.mark.parametrize(
        ("address", "effect"), [("ccw", Effect.LIVE), ("pci", Effect.GUEST), ("usb", Effect.GUEST)]
    )
    def test_who_must_agree_goes_by_the_address(self, address: str, effect: Effect) -> None:
        """Channel devices are unplugged at once; elsewhere the guest has a say."""
        before = devices(disks=[disk("a", address={"type": address})])

        made = plan(spec(), restarted(defined(wanted(before))))

        [step] = [step for step in made.steps if isinstance(step.action, Detach)]
        assert [effect] == [change.effect for change in step.changes]
        assert step.asks

    def test_a_controller_goes_after_what_is_attached_to_it(self) -> None:
        """And comes before it."""
        both = devices(
            controllers=[{"type": "scsi", "index": 1}],
            disks=[disk("a", target={"dev": "sda"})],
        )
        seen = restarted(defined(wanted(both)))
        bare = restarted(shut_off(spec()))

        gone = [action.alias for action in actions(plan(spec(), seen))]
        come = [parse_xml(action.xml).tag for action in actions(plan(both, bare))]

        assert ["virtio-sda", "virtio-0"] == gone
        assert ["controller", "disk"] == come

    @pytest.mark.parametrize(
        ("kind", "device", "reason"),
        [
            ("consoles", {"target": {"type": "sclp"}}, "consoles cannot be plugged into"),
            ("serials", {"target": {"type": "isa-serial"}}, "serial ports cannot be plugged into"),
            ("graphics", {"type": "vnc"}, "graphics cannot be plugged into"),
            ("videos", {"model": {"type": "virtio"}}, "a video device cannot be plugged into"),
            ("controllers", {"type": "usb"}, "a controller of the type usb cannot be hotplugged"),
            ("inputs", {"type": "mouse", "bus": "ps2"}, "an input on the bus ps2 cannot be"),
            ("watchdog", {"model": "diag288"}, "a watchdog of the model diag288 cannot be"),
            ("tpm", {"model": "tpm-crb", "backend": {"type": "emulator"}}, "a TPM cannot be"),
        ],
    )
    def test_what_cannot_be_plugged_says_so_both_ways(
        self, kind: str, device: Spec, reason: str
    ) -> None:
        """Coming and going wait for the next start."""
        single = kind in ("watchdog", "tpm")
        after = devices(**{kind: device if single else [device]})

        come = waits(plan(after, restarted(shut_off(spec()))))
        go = waits(plan(spec(), restarted(defined(wanted(after)))))

        assert [reason] == [each[: len(reason)] for each in come.values()]
        assert [reason] == [each[: len(reason)] for each in go.values()]


def test_a_watchdog_of_x86_can_be_plugged() -> None:
    """i6300esb is a PCI device."""
    after = devices(watchdog={"model": "i6300esb", "action": "poweroff"})

    assert ["attach"] == [a.verb for a in actions(plan(after, restarted(shut_off(spec()))))]
