"""Importing virtual servers that other programs have made in their own ways."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from lxml import etree

from reconvirt.domain.desired import desire
from reconvirt.domain.fragment import split_fragment
from reconvirt.domain.import_check import CannotImport, import_domain
from reconvirt.domain.plan import make_plan, render
from reconvirt.domain.xmltree import parse_xml
from reconvirt.manifest.load import load_file
from reconvirt.manifest.model import SourceFile
from strategies import wanted
from virtual_servers import observe, spec

TABLES = """<domain>
  <sysinfo type="smbios"><system><entry name="product">One</entry></system></sysinfo>
  <sysinfo type="fwcfg"><entry name="opt/org.example/name">a value</entry></sysinfo>
</domain>"""


def test_tables_of_both_kinds_are_read() -> None:
    """<sysinfo> may stand there several times; its types tell them apart."""
    root = parse_xml(render(wanted(spec())))
    root.extend(parse_xml(TABLES))
    seen = observe(root)

    manifest = yaml.safe_load(import_domain(seen).text)

    said = [each.get("type") for each in parse_xml(manifest["spec"]["xml"])]
    assert ["smbios", "fwcfg"] == said
    (loaded,) = load_file(SourceFile("vs", import_domain(seen).text.encode())).manifests
    changes = [change for step in make_plan(desire(loaded), seen).steps for change in step.changes]
    assert [] == changes
    assert {"sysinfo[smbios#1]", "sysinfo[fwcfg#1]"} == set(split_fragment(TABLES))


def test_a_name_that_no_manifest_can_state_is_told() -> None:
    """libvirt takes blanks at the ends of a name; a manifest does not."""
    seen = replace(observe(render(wanted(spec()))), name=" vs ")

    with pytest.raises(CannotImport, match=r'metadata\.name: " vs " does not fit'):
        import_domain(seen)


def load(xml: str) -> list[str]:
    """The problems of a manifest with this fragment."""
    manifest = {
        "apiVersion": "reconvirt/v1",
        "kind": "VirtualServer",
        "metadata": {"name": "vs"},
        "spec": spec(xml=xml),
    }
    result = load_file(SourceFile("vs", yaml.safe_dump(manifest).encode()))
    return [f"{each.field}: {each.message}" for each in result.problems]


def test_a_namespace_that_is_no_uri_is_told() -> None:
    """Such XML has no canonical form to be compared by."""
    problems = load("<domain xmlns:q='relative'><q:x/></domain>")

    assert ["spec.xml: the name of a namespace is no URI"] == problems
    assert [] == load("<domain xmlns:q='http://example.org/q'><q:x/></domain>")


def test_instructions_to_programs_say_nothing() -> None:
    """As comments do."""
    pieces = split_fragment("<domain><?a b?><pm><?c d?></pm><!-- e --></domain>")

    assert {"pm": "<pm></pm>"} == dict(pieces)
    assert etree.tostring(parse_xml("<a><?b c?></a>")) == b"<a/>"
