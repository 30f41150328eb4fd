"""The mark: what was last applied, kept in the virtual server's own ``<metadata>``.

It says that reconvirt manages the virtual server and what its manifest stated, so that what a
manifest no longer states can be told from what was never ours. It travels with a migration and
needs no database. The metadata of other programs is never touched.

The running and the configured virtual server carry a mark each: the live one still lists a disk
that the manifest has dropped until the guest has given it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from reconvirt.domain.desired import Statement
from reconvirt.domain.xmltree import reach

if TYPE_CHECKING:
    from lxml.etree import _Element

NAMESPACE = "urn:reconvirt:v1"
PREFIX = "reconvirt"
_TAG = f"{{{NAMESPACE}}}applied"


def read_mark(root: _Element) -> Statement | None:
    """What was last applied; None where there is no mark.

    A mark that cannot be read is one that states nothing: the virtual server is ours, and what
    is not known to be ours is left alone.
    """
    element = root.find(f"metadata/{_TAG}")
    if element is None:
        return None
    try:
        return Statement.from_json(element.text or "")
    except ValueError:
        return Statement({}, {})


def mark_text(root: _Element) -> str | None:
    """The text of the mark in a domain's XML, for telling whether it is still the same."""
    element = root.find(f"metadata/{_TAG}")
    return None if element is None else element.text or ""


def text_of_metadata(xml: str) -> str:
    """The text of the mark as ``virDomainGetMetadata`` shows it: the element alone."""
    return etree.fromstring(xml).text or ""


def write_mark(root: _Element, statement: Statement) -> None:
    """Put the mark into a domain's XML."""
    metadata = reach(root, "metadata")
    for old in metadata.findall(_TAG):
        metadata.remove(old)
    etree.SubElement(metadata, _TAG, nsmap={PREFIX: NAMESPACE}).text = statement.to_json()


def drop_mark(root: _Element) -> None:
    """Take the mark out of a domain's XML."""
    for old in root.findall(f"metadata/{_TAG}"):
        parent = old.getparent()
        if parent is not None:
            parent.remove(old)


def mark_element(statement: Statement) -> str:
    """The mark as ``virDomainSetMetadata`` takes it; libvirt adds the namespace."""
    element = etree.Element("applied")
    element.text = statement.to_json()
    return etree.tostring(element, encoding="unicode")
