"""Pieces of domain XML: what contains what, how they are merged, and taken out again."""

from __future__ import annotations

import pytest

from reconvirt.domain.fragment import (
    canonical,
    contains,
    index_pieces,
    merge,
    split_fragment,
    withdraw,
)
from reconvirt.domain.xmltree import parse_xml


def merged(found: str, wanted: str) -> str:
    """What an element says once it says all of another one."""
    element = parse_xml(found)
    merge(element, parse_xml(wanted))
    return canonical(element)


def withdrawn(found: str, applied: str, wanted: str | None = None) -> str:
    """What is left of an element."""
    element = parse_xml(found)
    withdraw(element, parse_xml(applied), parse_xml(wanted) if wanted else None)
    return canonical(element)


def plain(xml: str) -> str:
    return canonical(parse_xml(xml))


class TestContains:
    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ("<a/>", "<a x='1'>text<b/></a>"),
            ("<a x='1'/>", "<a x='1' y='2'/>"),
            ("<a x='254'/>", "<a x='0xfe'/>"),
            ("<a x='0xFE'/>", "<a x='0xfe'/>"),
            ("<mac address='52:54:00:AB:CD:EF'/>", "<mac address='52:54:00:ab:cd:ef'/>"),
            ("<a cpuset='0-3'/>", "<a cpuset='0,1,2,3'/>"),
            ("<a cpuset='0-7,^2'/>", "<a cpuset='0-1,3-7'/>"),
            ("<memory unit='GiB'>1</memory>", "<memory unit='KiB'>1048576</memory>"),
            ("<memory unit='M'>1</memory>", "<memory unit='bytes'>1048576</memory>"),
            ("<memory unit='MB'>1</memory>", "<memory unit='b'>1000000</memory>"),
            ("<a>text</a>", "<a>\n  text\n</a>"),
            ("<a><b n='1'/></a>", "<a><c/><b n='1'/></a>"),
            ("<cpu><feature name='b'/></cpu>", "<cpu><feature name='a'/><feature name='b'/></cpu>"),
            ("<a><vcpupin vcpu='1' cpuset='2'/></a>", "<a><vcpupin vcpu='1' cpuset='2'/></a>"),
            ("<os><boot dev='hd'/></os>", "<os><type/><boot dev='hd'/></os>"),
        ],
    )
    def test_what_says_the_same_or_more(self, wanted: str, found: str) -> None:
        """In whatever spelling, and whatever libvirt has added."""
        assert contains(parse_xml(found), parse_xml(wanted))

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ("<a x='1'/>", "<a/>"),
            ("<a x='1'/>", "<a x='2'/>"),
            ("<a x='0x10'/>", "<a x='10'/>"),
            ("<source file='/images/Web.img'/>", "<source file='/images/web.img'/>"),
            ("<source bridge='BR0'/>", "<source bridge='br0'/>"),
            ("<a>text</a>", "<a>other</a>"),
            ("<a>text</a>", "<a/>"),
            ("<a><b/></a>", "<a/>"),
            ("<memory unit='GiB'>1</memory>", "<memory unit='GB'>1</memory>"),
            ("<memory unit='GiB'>1</memory>", "<memory unit='KiB'>1</memory>"),
            ("<a><b n='1'/><b n='1'/></a>", "<a><b n='1'/></a>"),
            ("<cpu><feature name='b'/></cpu>", "<cpu><feature name='a'/></cpu>"),
            ("<a><arg v='1'/><arg v='2'/></a>", "<a><arg v='2'/><arg v='1'/></a>"),
            ("<a><arg v='1'/></a>", "<a><arg v='1'/><arg v='2'/></a>"),
            ("<os><boot dev='hd'/></os>", "<os><boot dev='cdrom'/><boot dev='hd'/></os>"),
        ],
    )
    def test_what_says_less_or_something_else(self, wanted: str, found: str) -> None:
        """Of ordered lists the order and the number count, too."""
        assert not contains(parse_xml(found), parse_xml(wanted))


class TestMerge:
    @pytest.mark.parametrize(
        ("found", "wanted", "both"),
        [
            ("<a x='1'/>", "<a y='2'/>", "<a x='1' y='2'/>"),
            ("<a x='1'/>", "<a x='2'/>", "<a x='2'/>"),
            ("<a>old<b/></a>", "<a>new</a>", "<a>new<b/></a>"),
            ("<a><b x='1'/></a>", "<a><b y='2'/><c/></a>", "<a><b x='1' y='2'/><c/></a>"),
            (
                "<a><source type='file'/></a>",
                "<a><source type='memfd'/></a>",
                "<a><source type='memfd'/></a>",
            ),
            (
                "<a><arg v='1'/><arg v='2'/><x/></a>",
                "<a><arg v='3'/></a>",
                "<a><x/><arg v='3'/></a>",
            ),
        ],
    )
    def test_what_is_stated_is_put_where_it_belongs(
        self, found: str, wanted: str, both: str
    ) -> None:
        """The rest stays; an ordered list is taken over as a whole."""
        assert plain(both) == merged(found, wanted)

    @pytest.mark.parametrize(
        ("tag", "key"),
        [
            ("vcpupin", "vcpu"),
            ("iothreadpin", "iothread"),
            ("vcpusched", "vcpus"),
            ("memnode", "cellid"),
            ("timer", "name"),
            ("feature", "name"),
            ("cell", "id"),
            ("parameter", "name"),
        ],
    )
    def test_another_one_is_added_beside_the_only_one(self, tag: str, key: str) -> None:
        """What is told apart by a key is never overwritten by one of another key."""
        one, two = f"<{tag} {key}='1' x='1'/>", f"<{tag} {key}='2' x='2'/>"

        assert plain(f"<a>{one}{two}</a>") == merged(f"<a>{one}</a>", f"<a>{two}</a>")
        assert plain(f"<a>{one}</a>") == withdrawn(f"<a>{one}{two}</a>", f"<a>{two}</a>")
        assert plain(f"<a>{one}</a>") == withdrawn(f"<a>{one}</a>", f"<a>{two}</a>")


class TestWithdraw:
    @pytest.mark.parametrize(
        ("found", "applied", "left"),
        [
            ("<a x='1' y='2'/>", "<a x='1'/>", "<a y='2'/>"),
            ("<a x='9' y='2'/>", "<a x='1'/>", "<a x='9' y='2'/>"),
            ("<a x='0xfe'/>", "<a x='254'/>", "<a/>"),
            ("<a><b><c/></b></a>", "<a><b><c/></b></a>", "<a/>"),
            ("<a><b k='1'><c/></b></a>", "<a><b><c/></b></a>", "<a><b k='1'/></a>"),
            ("<a>text</a>", "<a>text</a>", "<a/>"),
        ],
    )
    def test_what_was_applied_goes_as_far_as_it_stands_so(
        self, found: str, applied: str, left: str
    ) -> None:
        """What somebody has changed since is not ours any longer."""
        assert plain(left) == withdrawn(found, applied)

    def test_what_is_wanted_still_stays(self) -> None:
        """Only what the new piece no longer says is taken out."""
        found = "<a x='1' y='2'><b n='1'/><c/></a>"

        assert plain("<a x='1'><b n='1'/></a>") == withdrawn(
            found, found, wanted="<a x='5'><b n='7'/></a>"
        )


class TestPieces:
    def test_a_fragment_is_taken_apart(self) -> None:
        """Into the children of the domain and single devices, by the keys of the lists."""
        fragment = """
        <domain xmlns:q="http://libvirt.org/schemas/domain/qemu/1.0">
          <memoryBacking><locked/></memoryBacking>
          <seclabel model="dac"/><seclabel model="apparmor"/><seclabel model="dac"/>
          <sysinfo type="smbios"/><sysinfo type="fwcfg"/>
          <q:commandline><q:arg value="-x"/></q:commandline>
          <devices>
            <disk><target dev="vda"/></disk>
            <interface><mac address="52:54:00:00:00:AB"/></interface>
            <controller type="usb" index="1"/>
            <filesystem><target dir="/mnt"/></filesystem>
            <sound model="ich9"/><sound model="ich9"/>
            <hub/><hub/>
          </devices>
        </domain>
        """

        assert [
            "memoryBacking",
            "seclabel[dac#1]",
            "seclabel[apparmor#1]",
            "seclabel[dac#2]",
            "sysinfo[smbios#1]",
            "sysinfo[fwcfg#1]",
            "qemu:commandline",
            "devices.disk[vda]",
            "devices.interface[52:54:00:00:00:ab]",
            "devices.controller[usb/1#1]",
            "devices.filesystem[/mnt#1]",
            "devices.sound[ich9#1]",
            "devices.sound[ich9#2]",
            "devices.hub[1]",
            "devices.hub[2]",
        ] == list(split_fragment(fragment))

    def test_what_stands_there_twice_says_both(self) -> None:
        """A person may write the same element in two places."""
        pieces = split_fragment("<domain><cpu mode='a'/><cpu><topology/></cpu></domain>")

        assert {"cpu": '<cpu mode="a"><topology></topology></cpu>'} == pieces

    def test_spelling_makes_no_other_piece(self) -> None:
        """Quotes, blanks, order of attributes and unused namespaces are nothing."""
        one = split_fragment("<domain><a x='1' y='2'/></domain>")
        other = split_fragment(
            '<domain xmlns:z="urn:z">\n <a\n y="2" x="1"></a><!-- c --></domain>'
        )

        assert one == other

    def test_pieces_are_found_where_libvirt_has_them(self) -> None:
        """By the same keys."""
        root = parse_xml(
            "<domain><os/><devices><disk><target dev='vdb'/></disk></devices></domain>"
        )

        assert {"os": "os", "devices.disk[vdb]": "disk"} == {
            key: element.tag for key, element in index_pieces(root).items()
        }
