"""Comparing domain XML by what it means, independently of how the program compares it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

_UNITS = {"b": 1, "bytes": 1} | {
    f"{letter}{suffix}".lower(): base**power
    for power, letter in enumerate("KMGT", start=1)
    for suffix, base in (("", 1024), ("iB", 1024), ("B", 1000))
}

# What libvirt takes for granted: an element or attribute that says so says nothing.
GRANTED = {
    ("on_poweroff", "", "destroy"),
    ("on_reboot", "", "restart"),
    ("on_crash", "", "destroy"),
    ("clock", "offset", "utc"),
    ("vcpu", "placement", "static"),
    ("console/target", "port", "0"),
}


def missing(said: etree._Element, by: etree._Element, path: str = "") -> list[str]:
    """What one element says and the other does not; empty if the other says all of it."""
    here = f"{path}/{said.tag}".removeprefix("/domain/").removeprefix("/")
    found = [
        f"{here}@{name}={value}, not {by.get(str(name))}"
        for name, value in said.attrib.items()
        if not _is_granted(here, str(name), str(value))
        and not (name == "unit" and _amount(said) is not None)
        and not _same(here, str(name), str(value), by.get(str(name)))
    ]
    ours, theirs = _text(said), _text(by)
    if ours and not _same_text(said, by) and not (_is_granted(here, "", ours) or _is_all(said)):
        found.append(f"{here}: {ours!r}, not {theirs!r}")
    return found + [line for each, other in _pairs(said, by) for line in _child(each, other, here)]


def _child(said: etree._Element, by: etree._Element | None, here: str) -> list[str]:
    if by is not None:
        return missing(said, by, here)
    nothing = etree.Element(said.tag)
    lines = missing(said, nothing, here)
    tells = bool(said.attrib or len(said) or _text(said))
    return lines or ([] if tells else [f"{here}/{said.tag}"])


def _pairs(
    said: etree._Element, by: etree._Element
) -> Iterator[tuple[etree._Element, etree._Element | None]]:
    """Children that speak of the same thing: those that agree, then those that have one key."""
    rest = list(by)
    open_ones = []
    for each in said:
        exact = next((e for e in rest if e.tag == each.tag and not missing(each, e)), None)
        if exact is None:
            open_ones.append(each)
        else:
            rest.remove(exact)
            yield each, exact
    for each in open_ones:
        same = next((e for e in rest if e.tag == each.tag and _key(e) == _key(each)), None)
        if same is not None:
            rest.remove(same)
        yield each, same


def _key(element: etree._Element) -> tuple[str | None, ...]:
    target, mac = element.find("target"), element.find("mac")
    return (
        *(element.get(name) for name in ("name", "index", "order")),
        target.get("dev") if target is not None else None,
        mac.get("address") if mac is not None else None,
    )


def _is_granted(path: str, name: str, value: str) -> bool:
    return any(path.endswith(p) and (name, value) == (n, v) for p, n, v in GRANTED)


def _is_all(element: etree._Element) -> bool:
    """Whether it says that the guest has all of its memory."""
    parent = element.getparent()
    memory = parent.find("memory") if parent is not None else None
    return (
        element.tag == "currentMemory"
        and memory is not None
        and _amount(element) == _amount(memory)
    )


def _same(path: str, name: str, ours: str, theirs: str | None) -> bool:
    if theirs is None:
        return False
    if path.endswith("address") and name == "type":
        # The book's word for libvirt's.
        ours, theirs = ("drive" if each == "scsi" else each for each in (ours, theirs))
    if path.endswith("os/type") and name == "machine":
        # libvirt writes out the newest version of a machine.
        return re.fullmatch(rf"{re.escape(ours)}(-\d+\.\d+)?", theirs) is not None
    return ours == theirs or (None not in (_number(ours), _number(theirs)) and _equal(ours, theirs))


def _equal(ours: str, theirs: str) -> bool:
    return _number(ours) == _number(theirs)


def _number(text: str) -> int | None:
    if re.fullmatch(r"0x[0-9a-fA-F]+", text):
        return int(text, 16)
    return int(text) if text.isdecimal() else None


def _text(element: etree._Element) -> str:
    return " ".join((element.text or "").split())


def _same_text(said: etree._Element, by: etree._Element) -> bool:
    if said.tag == "uuid":
        return _text(said).replace("-", "") == _text(by).replace("-", "")
    if said.tag in ("memory", "currentMemory"):
        return _amount(said) == _amount(by)
    return _text(said) == _text(by)


def _amount(element: etree._Element) -> int | None:
    """The bytes of an amount of memory, in whole KiB as libvirt keeps it."""
    text = _text(element)
    if element.tag not in ("memory", "currentMemory") or not text.isdecimal():
        return None
    size = int(text) * _UNITS[element.get("unit", "KiB").lower()]
    return -(-size // 1024) * 1024
