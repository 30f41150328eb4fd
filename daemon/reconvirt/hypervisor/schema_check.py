"""libvirt's own schema of domain XML, for explaining why it refuses a definition."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from lxml import etree

from reconvirt.domain.fragment import index_pieces
from reconvirt.domain.xmltree import parse_xml, remove

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")


@functools.cache
def _schema() -> etree.RelaxNG | None:
    try:
        return etree.RelaxNG(etree.parse(str(SCHEMA)))
    except (OSError, etree.LxmlError):
        return None  # a libvirt that is elsewhere, or of another make


def breaks_schema(xml: str) -> bool:
    """Whether a domain is against libvirt's schema; False also where there is no schema here."""
    schema = _schema()
    return schema is not None and not schema.validate(parse_xml(xml))


def guilty_pieces(xml: str, keys: Iterable[str]) -> tuple[str, ...]:
    """The pieces without which a domain would be as the schema allows; empty if none is."""
    schema = _schema()
    if schema is None:
        return ()
    guilty: list[str] = []
    for key in keys:
        root = parse_xml(xml)
        element = index_pieces(root).get(key)
        if element is not None:
            remove(element)
            if schema.validate(root):
                guilty.append(key)
    return tuple(guilty)
