"""Domains of other programs, of great variety: taken over they stay what they are."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest
import yaml
from lxml import etree

from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.reconcile import Reconciler
from reconvirt.domain.desired import desire
from reconvirt.domain.import_check import import_domain
from reconvirt.domain.mark import NAMESPACE
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.manifest.load import load_file
from reconvirt.manifest.model import SourceFile
from testbed import LibvirtHost
from variety import MACHINES, make_domain

SEEDS = range(15)
ALL = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE


class Bed:
    """The program's parts on a connection of their own, and one for looking behind its back."""

    def __init__(self, uri: str) -> None:
        self.connection = libvirt.open(uri)
        self.hypervisor = Hypervisor(uri)
        self._reconciler = Reconciler(lambda: self.hypervisor)

    def define(self, xml: str) -> None:
        """Define a domain as another program would."""
        self.connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)

    def xml(self, name: str) -> str:
        """The configuration as libvirt has it."""
        return self.connection.lookupByName(name).XMLDesc(ALL)

    def imported(self, name: str, *, addresses: bool = False) -> str:
        """The manifest that an import writes."""
        observed = self.hypervisor.observe(name)
        assert observed is not None
        return import_domain(observed, addresses=addresses).text

    def apply(self, manifest: str) -> tuple[Outcome, int]:
        """Converge, and how many writing calls that took."""
        result = load_file(SourceFile("manifest.yaml", manifest.encode()))
        assert () == result.problems
        before = self.hypervisor.calls.writing
        outcome = self._reconciler.reconcile(desire(result.manifests[0]))
        return outcome, self.hypervisor.calls.writing - before


@pytest.fixture(scope="module")
def bed(host: LibvirtHost) -> Iterator[Bed]:
    """One for all domains; they go at the end."""
    yield Bed(host.uri)
    host.destroy_everything()


def devices(xml: str) -> Counter[bytes]:
    """All devices, each as one text with all that libvirt says of it."""
    root = etree.fromstring(xml, etree.XMLParser(remove_blank_text=True))
    for port in root.iterfind("devices/controller[@model='pcie-root-port']/address"):
        # libvirt itself sets it when it adds a port in another function of the same slot.
        port.attrib.pop("multifunction", "")
    return Counter(_text(device) for device in root.iterfind("devices/*"))


def others(xml: str) -> list[bytes]:
    """All else, without the mark of reconvirt."""
    root = etree.fromstring(xml, etree.XMLParser(remove_blank_text=True))
    for mark in root.findall(f"metadata/{{{NAMESPACE}}}*"):
        mark.getparent().remove(mark)
    for metadata in root.findall("metadata"):
        if not len(metadata):
            root.remove(metadata)
    return sorted(_text(child) for child in root if child.tag != "devices")


def _text(element: etree._Element) -> bytes:
    return etree.tostring(copy.deepcopy(element), method="c14n", exclusive=True)


def with_disk(manifest: str, xml: str) -> str:
    """The manifest with one more disk."""
    document: dict[str, Any] = yaml.safe_load(manifest)
    used = {target.get("dev") for target in etree.fromstring(xml).iterfind("devices/disk/target")}
    disk = {
        "type": "file",
        "driver": {"type": "qcow2"},
        "source": {"file": "/srv/images/added.qcow2"},
        "target": {"dev": next(f"vd{x}" for x in "abcdefghijklmnop" if f"vd{x}" not in used)},
    }
    document["spec"].setdefault("devices", {}).setdefault("disks", []).append(disk)
    return yaml.safe_dump(document, sort_keys=False)


def is_port(device: bytes) -> bool:
    """Whether it is a port that libvirt has added for a device, or has left free."""
    return b'model="pcie-root-port"' in device


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", MACHINES)
def test_a_domain_of_another_program_stays_what_it_is(
    bed: Bed, host: LibvirtHost, kind: str, seed: int
) -> None:
    """Imported it is as wanted; a disk that comes and goes moves and changes nothing else."""
    name = host.unique_name(f"variety-{kind}")
    bed.define(make_domain(name, kind, seed))
    bed.define(bed.xml(name))  # some of what libvirt fills in settles at the second look only
    before = bed.xml(name)
    manifest = bed.imported(name)

    for text in (manifest, bed.imported(name, addresses=True)):
        outcome, writing = bed.apply(text)
        assert (Phase.CONVERGED, 0) == (outcome.phase, writing), text
    assert before == bed.xml(name)

    more = with_disk(manifest, before)
    outcome, _ = bed.apply(more)

    assert Phase.CONVERGED is outcome.phase, outcome.message
    after = bed.xml(name)
    assert Counter() == devices(before) - devices(after)
    gained = [each for each in devices(after) - devices(before) if not is_port(each)]
    assert 1 == len(gained)
    assert b"/srv/images/added.qcow2" in gained[0]
    assert others(before) == others(after)
    assert 0 == bed.apply(more)[1]

    outcome, _ = bed.apply(manifest)

    assert Phase.CONVERGED is outcome.phase
    end = bed.xml(name)
    assert Counter() == devices(before) - devices(end)
    assert [] == [each for each in devices(end) - devices(before) if not is_port(each)]
    assert others(before) == others(end)
    assert 0 == bed.apply(manifest)[1]
