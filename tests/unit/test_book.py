"""Each example of the book, read as an import reads it and rendered anew, says what it said."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from lxml import etree

from book_examples import MENDED, NAMES, has_own_addresses, observed, whole
from meaning import GRANTED, missing
from reconvirt.domain.desired import desire
from reconvirt.domain.import_check import import_domain
from reconvirt.domain.plan import render
from reconvirt.manifest.load import load_file
from reconvirt.manifest.model import FileResult, Manifest, SourceFile

ADDED = ("domain/vcpu@current=", "domain/metadata/")
"""What a rendered virtual server may say beside: how many vCPUs are on, and reconvirt's mark."""

IN_XML: frozenset[str] = frozenset()
"""The examples that the keys of a manifest cannot say; spec.xml would."""


def load(text: str) -> FileResult:
    """What the file of a manifest says."""
    return load_file(SourceFile("book.yaml", text.encode()))


def imported(name: str) -> Manifest:
    """The manifest that an import writes of an example."""
    domain = whole(name)
    text = import_domain(observed(domain), addresses=has_own_addresses(domain)).text
    result = load(text)
    assert () == result.problems
    return result.manifests[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_survives_the_way_through_a_manifest(name: str) -> None:
    """Imported, loaded and rendered as a new virtual server it says all that it said, no more."""
    domain = whole(name)

    new = etree.fromstring(render(desire(imported(name))))

    assert [] == missing(domain, new)
    shown = etree.fromstring(observed(domain).config)
    assert [] == [line for line in missing(new, shown) if not line.startswith(ADDED)]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_said_by_keys(name: str) -> None:
    """No example, and so nothing of chapter 24, needs spec.xml."""
    assert (name in IN_XML) == ("xml" in imported(name).spec)


def test_all_of_the_book_is_here() -> None:
    """105 files of seven chapters, of which five leave something open."""
    assert 105 == len(NAMES)
    assert {"05", "10", "11", "14", "15", "20", "24"} == {name[2:4] for name in NAMES}
    assert set(MENDED) == set(OPEN)


KERNEL = {"initrd": "initial-ramdisk", "kernel": "kernel-image", "cmdline": "c"}
DISK = {"type": "block", "driver": {"type": "raw", "cache": "none", "io": "native", "iothread": 2}}

# Examples that leave something open: what one would write after them, the field that is wrong,
# and what the user reads.
OPEN: dict[str, tuple[dict[str, Any], str, str]] = {
    # The names stand for files of the reader's own; QEMU would look for them in its own folder.
    "ch10-06-os-kernel": ({"os": KERNEL}, "spec.os.kernel", "absolute path"),
    "ch10-09-install-from-kernel": ({"os": KERNEL}, "spec.os.initrd", "absolute path"),
    # The example is about the I/O thread alone; the disk has no name and nothing behind it.
    "ch11-05-disk-iothread": (
        {"iothreads": 2, "devices": {"disks": [DISK]}},
        "spec.devices.disks[0]",
        "target",
    ),
    # It is about the MAC address; to which device of the host, the book leaves open.
    "ch24-24-mac": (
        {
            "devices": {
                "interfaces": [
                    {
                        "type": "direct",
                        "mac": {"address": "02:10:10:f9:80:00"},
                        "model": {"type": "virtio"},
                    }
                ]
            }
        },
        "spec.devices.interfaces[0]",
        "an interface of the type direct needs source.dev",
    ),
    # It is about the virtual port; without a type libvirt does not know an interface, either.
    "ch24-43-virtualport": (
        {"devices": {"interfaces": [{"virtualport": {"type": "openvswitch"}}]}},
        "spec.devices.interfaces[0]",
        "type",
    ),
}


@pytest.mark.parametrize("name", OPEN)
def test_what_an_example_leaves_open_is_asked_for(name: str) -> None:
    """Whoever copies an example that is not complete is told the field and what is missing."""
    spec, field, words = OPEN[name]
    system = {"arch": "s390x", "machine": "s390-ccw-virtio", **spec.get("os", {})}
    manifest = {
        "apiVersion": "reconvirt/v1",
        "kind": "VirtualServer",
        "metadata": {"name": "book"},
        "spec": {"memory": "512 MB", "vcpu": 1, **spec, "os": system},
    }

    problems = load(yaml.safe_dump(manifest)).problems

    told = [f"{each.message} {each.allowed}" for each in problems if each.field == field]
    assert any(words in each for each in told), problems


@pytest.mark.parametrize("name", NAMES)
def test_the_comparison_misses_nothing(name: str) -> None:
    """Whatever one takes out of an example, the comparison of these tests tells it."""
    domain = whole(name)
    for number, element in enumerate(domain.iter()):
        for word in ("", *map(str, element.attrib)):
            less = copy.deepcopy(domain)
            place = list(less.iter())[number]
            if word:
                del place.attrib[word]
            elif (place.text or "").strip():
                place.text = None
            else:
                continue
            assert missing(domain, less) or is_granted(domain, number, word), (element.tag, word)


def is_granted(domain: etree._Element, number: int, word: str) -> bool:
    """Whether libvirt would take it for granted: a default, or a unit of the same size."""
    element = list(domain.iter())[number]
    said = (str(element.tag), word, element.get(word) if word else element.text)
    defaults = {(path.rpartition("/")[2], name, value) for path, name, value in GRANTED}
    return said in defaults or element.tag == "currentMemory" or said[1:] == ("unit", "KiB")
