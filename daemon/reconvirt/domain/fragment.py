"""Fragments of domain XML: what a manifest says through ``spec.xml``.

A fragment is a ``<domain>`` of which only what it says counts. It is split into pieces – a child
of ``<domain>``, or one device – that are compared, merged and owned each for itself, by the same
identities as everything else. A piece is satisfied by whatever contains it: elements and
attributes that libvirt has added are none of its business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lxml import etree

from reconvirt.domain.devices import KIND_BY_ELEMENT
from reconvirt.domain.rows import Stated
from reconvirt.domain.xmltree import is_bare, parse_xml, remove
from reconvirt.manifest.units import parse_cpuset

if TYPE_CHECKING:
    from lxml.etree import _Element

    from reconvirt.domain.rows import DeviceKind

# What tells repeated elements of one parent apart; the first that is there.
_KEYS = (
    *("name", "id", "vcpu", "vcpus", "iothread", "iothreads", "cell", "cellid", "cpus", "dev"),
    *("index", "key", "fabric", "port", "type"),
)
# Several of one parent though there may be only one: another key is never the same thing.
_LISTED = frozenset(
    {
        *("vcpupin", "iothreadpin", "vcpusched", "iothreadsched", "cachetune", "memorytune"),
        *("memnode", "cell", "sibling", "timer", "feature", "cipher", "parameter", "iothread"),
    }
)
# Their order and number is their meaning.
_ORDERED = frozenset({"arg", "env", "entry", "initarg", "boot", "tag", "capability"})
_OTHER_IDENTITIES = {
    "filesystem": ("target", "dir"),
    "shmem": ("", "name"),
    "sound": ("", "model"),
    "panic": ("", "model"),
    "audio": ("", "id"),
    "memory": ("", "model"),
    "redirdev": ("", "type"),
    "parallel": ("target", "port"),
    "smartcard": ("", "mode"),
    "crypto": ("", "model"),
}
# Elements below <domain> that may stand there several times, and what tells them apart.
_REPEATED = {"seclabel": "model", "sysinfo": "type"}
_PREFIXES = {
    "http://libvirt.org/schemas/domain/qemu/1.0": "qemu",
    "http://libvirt.org/schemas/domain/lxc/1.0": "lxc",
    "http://libvirt.org/schemas/domain/xen/1.0": "xen",
    "http://libvirt.org/schemas/domain/bhyve/1.0": "bhyve",
}
DEVICES = "devices"


def split_fragment(text: str) -> Mapping[str, str]:
    """The pieces of a fragment by their keys, each in canonical form.

    What stands there twice counts as one that says both.
    """
    pieces: dict[str, _Element] = {}
    for key, element in _pieces_of(parse_xml(text)):
        if key in pieces:
            merge(pieces[key], element)
        else:
            pieces[key] = element
    return {key: canonical(element) for key, element in pieces.items()}


def index_pieces(root: _Element) -> Mapping[str, _Element]:
    """The elements of a domain that pieces can speak of, by the pieces' keys."""
    return dict(_pieces_of(root))


def _pieces_of(root: _Element) -> Iterator[tuple[str, _Element]]:
    seen: dict[str, dict[str, int]] = {}
    for child in root:
        if (told_by := _REPEATED.get(str(child.tag))) is not None:
            which, counted = child.get(told_by, ""), seen.setdefault(str(child.tag), {})
            counted[which] = counted.get(which, 0) + 1
            yield f"{child.tag}[{which}#{counted[which]}]", child
        elif child.tag != DEVICES:
            yield tag_name(child), child
    for child in root.iterfind(f"{DEVICES}/*"):
        yield device_key(child, seen.setdefault(str(child.tag), {})), child


def tag_name(element: _Element) -> str:
    """The tag as people write it: ``cpu``, ``qemu:commandline``."""
    tag, name = str(element.tag), etree.QName(element)
    if not tag.startswith("{"):
        return tag
    return f"{_PREFIXES.get(str(name.namespace), name.namespace)}:{name.localname}"


def device_key(element: _Element, seen: dict[str, int]) -> str:
    """The key of a device; ``seen`` counts those of its element before it."""
    kind = KIND_BY_ELEMENT.get(str(element.tag))
    if kind is not None:
        identity = kind.identify(read_identity(kind, element), seen)
    else:
        path, name = _OTHER_IDENTITIES.get(str(element.tag), ("", ""))
        holder = element.find(path) if path else element
        what = holder.get(name, "") if holder is not None and name else ""
        seen[what] = seen.get(what, 0) + 1
        identity = f"{what}#{seen[what]}" if what else str(seen[what])
    return piece_key(str(element.tag), identity)


def piece_key(tag: str, identity: str) -> str:
    """The key of the piece that speaks of a device."""
    return f"{DEVICES}.{tag}[{identity}]"


def read_identity(kind: DeviceKind, element: _Element) -> Stated:
    """The values that tell this device from others of its kind."""
    values = ((row.name, row.read(element)) for row in kind.fields if row.name in kind.identity)
    return {name: value for name, value in values if value is not None}


def canonical(element: _Element) -> str:
    """One text for equal elements, however they are written."""
    # Exclusive: namespaces that the document declares and the element does not use are left out.
    return etree.tostring(element, method="c14n", exclusive=True, with_comments=False).decode()


def contains(found: _Element, wanted: _Element) -> bool:
    """Whether an element says all that another one says."""
    if not _same_text(wanted, found):
        return False
    for name, value in wanted.attrib.items():
        if name == "unit" and _amount(wanted) is not None:
            continue
        there = found.get(str(name))
        if there is None or not _same_value(str(value), there):
            return False
    return all(
        there is not None and contains(there, each) for each, there in _pair(wanted, found)
    ) and _same_order(wanted, found)


def merge(found: _Element, wanted: _Element) -> None:
    """Have an element say all that another one says, and otherwise what it said."""
    if (wanted.text or "").strip():
        found.text = wanted.text
    for name, value in wanted.attrib.items():
        found.set(name, value)
    for tag in _ordered_tags(wanted):
        for old in found.findall(tag):
            found.remove(old)
    for each, there in list(_pair(wanted, found)):
        if there is None:
            found.append(_copy(each))
        else:
            merge(there, each)


def withdraw(found: _Element, applied: _Element, wanted: _Element | None) -> None:
    """Take out of an element what was applied and is no longer wanted, as far as it stands so."""
    for name, value in applied.attrib.items():
        kept = wanted is not None and name in wanted.attrib
        spelled = found.get(str(name))
        if not kept and spelled is not None and _same_value(str(value), spelled):
            del found.attrib[name]
    if (applied.text or "").strip() and (wanted is None or not (wanted.text or "").strip()):
        found.text = None
    still = dict(_pair(applied, wanted)) if wanted is not None else {}
    for each, there in list(_pair(applied, found)):
        if there is not None:
            withdraw(there, each, still.get(each))
            if still.get(each) is None and is_bare(there):
                remove(there)


def _copy(element: _Element) -> _Element:
    return etree.fromstring(etree.tostring(element, with_tail=False))


def _pair(wanted: _Element, found: _Element) -> Iterator[tuple[_Element, _Element | None]]:
    """Each child of one element with the child of the other that speaks of the same thing."""
    for tag in dict.fromkeys(child.tag for child in wanted):
        ours, theirs = wanted.findall(tag), found.findall(tag)
        name = etree.QName(tag).localname
        if len(ours) == 1 and len(theirs) <= 1 and name not in _LISTED:
            yield ours[0], theirs[0] if theirs else None
            continue
        if name in _ORDERED:
            for number, each in enumerate(ours):
                yield each, theirs[number] if number < len(theirs) else None
            continue
        by_key = dict(_keyed(theirs))
        for key, each in _keyed(ours):
            yield each, by_key.get(key)


def _keyed(elements: list[_Element]) -> Iterator[tuple[tuple[str, str, int], _Element]]:
    seen: dict[tuple[str, str], int] = {}
    for element in elements:
        name = next((each for each in _KEYS if each in element.attrib), "")
        key = (name, element.get(name, "") if name else "")
        seen[key] = seen.get(key, 0) + 1
        yield (*key, seen[key]), element


def _ordered_tags(element: _Element) -> set[str]:
    tags = {str(child.tag) for child in element}
    return {tag for tag in tags if etree.QName(tag).localname in _ORDERED}


def _same_order(wanted: _Element, found: _Element) -> bool:
    return all(len(wanted.findall(t)) == len(found.findall(t)) for t in _ordered_tags(wanted))


def _same_text(wanted: _Element, found: _Element) -> bool:
    ours, theirs = (wanted.text or "").strip(), (found.text or "").strip()
    if not ours:
        return True
    amounts = _amount(wanted), _amount(found)
    if amounts[0] is not None and amounts[1] is not None:
        return amounts[0] == amounts[1]
    return _same_value(ours, theirs)


_UNITS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}


def _amount(element: _Element) -> int | None:
    """The bytes of ``<memory unit='GiB'>1</memory>``; None for what is no such amount."""
    unit, text = element.get("unit"), (element.text or "").strip()
    if unit is None or not text.isdigit():
        return None
    letter = unit[:1].lower()
    if letter == "b":
        return int(text)
    if letter not in _UNITS:
        return None
    base = 1000 if unit[1:].lower() == "b" else 1024
    return int(text) * int(base ** _UNITS[letter])


# MAC addresses, uuids, world-wide names: libvirt spells them its own way. Names and paths it does
# not touch, and there another case is another thing.
_HEXADECIMAL = re.compile(r"[0-9a-fx:.-]+", re.IGNORECASE)


def _same_value(wanted: str, found: str) -> bool:
    """Whether two spellings mean the same: numbers in any base, hexadecimal ones, CPU sets."""
    if wanted == found:
        return True
    if wanted.lower() == found.lower():
        return _HEXADECIMAL.fullmatch(wanted) is not None
    for read in (lambda text: int(text, 0), parse_cpuset):
        try:
            if read(wanted) == read(found):
                return True
        except ValueError:
            continue
    return False
