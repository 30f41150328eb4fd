"""What a host allows in manifests, and what fits together in none."""

from __future__ import annotations

import pytest

from reconvirt.domain.plan import Host, make_plan
from reconvirt.domain.rules import HostRules, object_to
from strategies import wanted
from virtual_servers import Spec, devices, disk, refusals, restarted, shut_off, spec, verbs

QEMU = "xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'"
PASSED_ON = [
    f"<q:commandline {QEMU}><q:arg value='-S'/></q:commandline>",
    f"<q:override {QEMU}><q:device alias='x'/></q:override>",
    f"<memoryBacking><q:x {QEMU}/></memoryBacking>",
    f"<devices><sound model='ich9'><q:x {QEMU}/></sound></devices>",
    "<x:anything xmlns:x='urn:anything'/>",
]


def stating(*parts: str, **more: object) -> Spec:
    """A ``spec`` with these parts in its spec.xml."""
    return spec(**more) | {"xml": f"<domain>{''.join(parts)}</domain>"}


class TestPassthrough:
    @pytest.mark.parametrize("part", PASSED_ON)
    def test_it_is_refused(self, part: str) -> None:
        """Whatever stands deep inside, whether the virtual server is there or not."""
        after = stating(part, cputune={"shares": 5})

        for seen in (None, shut_off(spec()), restarted(shut_off(spec()))):
            made = make_plan(wanted(after), seen)
            assert () == made.steps
            [reason] = refusals(made).values()
            assert "allow_passthrough = true" in reason

    def test_its_place_is_told(self) -> None:
        """The piece, by its key."""
        made = make_plan(wanted(stating(PASSED_ON[0])), None)

        assert ["xml.qemu:commandline"] == list(refusals(made))

    @pytest.mark.parametrize("part", PASSED_ON)
    def test_the_host_may_allow_it(self, part: str) -> None:
        """Then it is a piece like any other."""
        host = Host(rules=HostRules(passthrough=True))

        made = make_plan(wanted(stating(part)), None, {}, host)

        assert ["define", "start"] == verbs(made)
        assert () == made.refused

    def test_what_needs_no_namespace_is_allowed_anyway(self) -> None:
        """libvirt's schema checks it."""
        assert () == object_to(wanted(stating("<memoryBacking/>")), HostRules())


class TestContradictions:
    @pytest.mark.parametrize(
        ("part", "field", "why"),
        [
            ("<memory unit='GiB'>2</memory>", "memory.size", "states 1 GiB"),
            ("<vcpu>8</vcpu>", "vcpu.maximum", "states 4"),
            ("<vcpu current='1'>4</vcpu>", "vcpu.current", "states 2"),
            ("<on_crash>restart</on_crash>", "on_crash", "states preserve"),
            ("<os><type machine='other'/></os>", "os.machine", "states s390-ccw-virtio"),
            ("<features><acpi/></features>", "features.acpi", "states no"),
        ],
    )
    def test_two_places_that_say_something_else(self, part: str, field: str, why: str) -> None:
        """Neither is done."""
        after = stating(part, on_crash="preserve", features={"acpi": False})

        made = make_plan(wanted(after), None)

        assert () == made.steps
        assert f"spec.{field} {why}; say it in one place" == refusals(made)[f"xml: {field}"]

    @pytest.mark.parametrize(
        ("inner", "field", "why"),
        [
            ("<source file='/other'/>", "source.file", "states /images/a.img"),
            ("<driver name='qemu' type='qcow2'/>", "driver.type", "states raw"),
        ],
    )
    def test_a_listed_device_that_spec_xml_says_otherwise(
        self, inner: str, field: str, why: str
    ) -> None:
        """Neither of them would ever be in force."""
        part = f"<domain><devices><disk>{inner}<target dev='vda'/></disk></devices></domain>"

        made = make_plan(wanted(devices(disks=[disk("a")]) | {"xml": part}), None)

        assert () == made.steps
        path = f"devices.disks[vda].{field}"
        assert f"spec.{path} {why}; say it in one place" == refusals(made)[f"xml: {path}"]

    def test_one_place_that_says_the_same_again_is_none(self) -> None:
        """However it is spelled."""
        after = stating("<memory unit='MiB'>1024</memory>", "<on_crash>destroy</on_crash>")

        assert () == object_to(wanted(after), HostRules())

    def test_a_piece_that_says_more_is_none(self) -> None:
        """Keys and pieces meet in one element."""
        after = stating("<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>", cputune={"shares": 5})

        assert () == object_to(wanted(after), HostRules())


def test_what_cannot_be_found_holds_nothing_else_up() -> None:
    """Only what is wrong in the manifest itself stops everything."""
    missing = devices(disks=[disk("a")], hostdevs=[])

    assert () == object_to(wanted(missing), HostRules())
