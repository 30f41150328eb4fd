"""Domain XML as a tree: reading, printing, making and removing what stands in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lxml import etree

if TYPE_CHECKING:
    from lxml.etree import _Element

_PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    remove_blank_text=True,
    remove_comments=True,
    remove_pis=True,
)
_WHICH = re.compile(r"@(\w+)='([^']*)'")


def parse_xml(text: str) -> _Element:
    """The root element of libvirt's XML; entities are never resolved."""
    return etree.fromstring(text, _PARSER)


def print_xml(element: _Element) -> str:
    """The element as indented text, as ``virsh dumpxml`` would show it."""
    etree.indent(element)
    return etree.tostring(element, encoding="unicode", with_tail=False)


_PASSWORD = re.compile(r"""\s+passwd\s*=\s*("[^"]*"|'[^']*')""")


def hide_passwords(xml: str) -> str:
    """XML to be shown: without the passwords of graphics, which libvirt keeps in it."""
    return _PASSWORD.sub("", xml)


def reach(root: _Element, path: str) -> _Element:
    """The element at the path below root, made where it is missing.

    A step may say which one it means: ``keywrap/cipher[@name='aes']``.
    """
    element = root
    for step in path.split("/"):
        child = element.find(step)
        if child is None:
            tag, _, which = step.partition("[")
            child = etree.SubElement(element, tag)
            for name, value in _WHICH.findall(which):
                child.set(name, value)
        element = child
    return element


def prune(root: _Element, path: str) -> None:
    """Remove the element at the path, and the parents that this leaves bare."""
    element = root.find(path)
    while element is not None and element is not root:
        parent = element.getparent()
        if parent is None:
            return
        parent.remove(element)
        element = parent if is_bare(parent) else None


def prune_bare(root: _Element, path: str) -> None:
    """Remove the element at the path and its parents as far as they say nothing."""
    element = root.find(path)
    if element is not None and is_bare(element, dict(_WHICH.findall(path.rpartition("/")[2]))):
        prune(root, path)


def is_bare(element: _Element, known: Mapping[str, str] | None = None) -> bool:
    """Whether an element says nothing: no child or text, and no attribute but the known ones."""
    told = set(element.attrib) - set(known or ())
    return not (told or len(element) or (element.text or "").strip())


def attributes(element: _Element) -> dict[str, str]:
    """An element's attributes, for comparing."""
    return {str(name): str(value) for name, value in element.attrib.items()}


def remove(element: _Element) -> None:
    """Take an element out of its parent."""
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def clear(element: _Element) -> None:
    """Empty an element, keeping where it stands."""
    for child in list(element):
        element.remove(child)
    element.attrib.clear()
    element.text = None
