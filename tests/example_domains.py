"""Domains of many makes, hand-written as libvirt prints them, and their manifests."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from reconvirt.domain.desired import Desired, desire
from reconvirt.domain.import_check import import_domain
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.xmltree import parse_xml
from reconvirt.manifest.load import load_file
from reconvirt.manifest.model import SourceFile
from virtual_servers import as_started, text_of

FOLDER = Path(__file__).parent / "unit/domain/domains"
DOMAINS = {path.stem: path for path in sorted(FOLDER.glob("*.xml"))}


def domain(name: str) -> Observed:
    """One of the domains, shut off."""
    xml = DOMAINS[name].read_text(encoding="utf-8")
    root = parse_xml(xml)
    names = root.findtext("name") or "", root.findtext("uuid") or ""
    return Observed(*names, None, State.SHUTOFF, "", xml, live=None)


def started(name: str) -> Observed:
    """One of the domains, running."""
    seen = domain(name)
    live = text_of(as_started(seen.config))
    return replace(seen, domain_id=1, state=State.RUNNING, live=live)


def load(text: str) -> Desired:
    """What the text of a manifest wants; it must be a good one."""
    result = load_file(SourceFile("f.yaml", text.encode()))
    assert () == result.problems
    return desire(result.manifests[0])


def spec_of(seen: Observed, **options: bool) -> dict[str, Any]:
    """The ``spec`` that is written of a domain."""
    spec: dict[str, Any] = yaml.safe_load(import_domain(seen, **options).text)["spec"]
    return spec


@functools.cache
def text_of_import(name: str, addresses: bool) -> str:
    """The manifest that is written of a domain."""
    return import_domain(domain(name), addresses=addresses).text
