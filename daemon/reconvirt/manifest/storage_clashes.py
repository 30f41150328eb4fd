"""Manifests whose virtual servers would write to one disk.

A copy of a manifest under another name is such a pair, whether both are defined or run already.
What a path is on a host is not known here: there device numbers and inodes are compared as well,
before anything is opened.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lxml import etree

from reconvirt.manifest.host import HostManifest
from reconvirt.manifest.model import Manifest
from reconvirt.manifest.problem import Position, Problem

_KEYS = {"file": "file", "block": "dev"}
_DRIVES = ("cdrom", "floppy")
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True)


@dataclass(frozen=True, slots=True)
class _Claim:
    """One disk that a virtual server writes to.

    Attributes:
        manifest: whose.
        field: where its source stands in the manifest.
        path: its source.
        shareable: whether several may write to it.
    """

    manifest: Manifest
    field: str
    path: str
    shareable: bool

    @property
    def position(self) -> Position:
        """Where its source stands, or else its manifest."""
        return self.manifest.positions.get(self.field, self.manifest.position)

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that it may be on; none for any."""
        spec = self.manifest.spec
        stated = spec.get("host")
        return frozenset({stated, *spec.get("hosts", ())}) if stated else frozenset()


def storage_clashes(
    manifests: Iterable[Manifest], hosts: Mapping[str, HostManifest]
) -> dict[Position, Problem]:
    """The manifests with a disk that another one writes to, and the problem at each.

    Disks that are read-only, or shareable in both, and drives, are left out.

    Args:
        manifests: all of them.
        hosts: the hosts in force, which say what they share.
    """
    claims: dict[str, list[_Claim]] = {}
    for manifest in manifests:
        for claim in _claims(manifest):
            claims.setdefault(claim.path, []).append(claim)
    clashes: dict[Position, Problem] = {}
    for path, same in claims.items():
        for claim in same if len(same) > 1 else ():
            others = [each for each in same if _clash(claim, each, hosts)]
            if others:
                named = ", ".join(f"{each.manifest.name} ({each.position})" for each in others)
                message = (
                    f"{path} is written to by {named} as well, and two virtual servers that write "
                    "to one disk destroy it: none of them is in force"
                )
                allowed = "a disk of its own; or readonly, or shareable in both"
                clashes.setdefault(
                    claim.manifest.position, Problem(claim.position, claim.field, message, allowed)
                )
    return clashes


def _claims(manifest: Manifest) -> Iterator[_Claim]:
    for number, disk in enumerate(manifest.spec.get("devices", {}).get("disks", ())):
        key = _KEYS.get(disk["type"], "")
        path = disk.get("source", {}).get(key)
        drive = disk.get("device", "disk") in _DRIVES
        if path and not (drive or disk.get("readonly")):
            field = f"spec.devices.disks[{number}].source.{key}"
            yield _Claim(manifest, field, _plain(path), bool(disk.get("shareable")))
    if "xml" in manifest.spec:
        for path, shareable in _paths_in(manifest.spec):
            yield _Claim(manifest, "spec.xml", _plain(path), shareable)


def _paths_in(spec: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """The disks of ``spec.xml`` that are written to; those that the list states are told there."""
    listed = {disk["target"]["dev"] for disk in spec.get("devices", {}).get("disks", ())}
    for disk in etree.fromstring(spec["xml"], _PARSER).iterfind("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        exempt = disk.get("device") in _DRIVES or disk.find("readonly") is not None
        if source is None or exempt or (target is not None and target.get("dev") in listed):
            continue
        if path := source.get("file") or source.get("dev"):
            yield path, disk.find("shareable") is not None


def _plain(path: str) -> str:
    # Two slashes at the beginning would stay.
    return posixpath.normpath(path).replace("//", "/", 1)


def _clash(one: _Claim, other: _Claim, hosts: Mapping[str, HostManifest]) -> bool:
    """Whether two disks of one path may be one disk: on one host, or on storage that is shared."""
    if one.manifest is other.manifest or (one.shareable and other.shareable):
        return False
    here, there = one.hosts, other.hosts
    if not here or not there or here & there:
        return True
    return any(_share(one.path, hosts.get(a), hosts.get(b)) for a in here for b in there)


def _share(path: str, one: HostManifest | None, other: HostManifest | None) -> bool:
    if one is None or other is None:
        return False
    both = {_plain(each) for each in one.shared} & {_plain(each) for each in other.shared}
    return any(path == each or path.startswith(f"{each.rstrip('/')}/") for each in both)
