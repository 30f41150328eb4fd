"""What a host lets manifests ask for, checked on the domain XML that they lead to.

The XML and not the manifest is looked at, so that it does not matter whether something was said
by a key, by ``spec.xml``, or by both together. Every value that looks like a path is checked; one
whose purpose is not known is held against the strictest rule.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lxml import etree

from reconvirt.domain.changes import Change
from reconvirt.domain.compare import piece_path
from reconvirt.domain.desired import Desired
from reconvirt.domain.device_xml import render_device
from reconvirt.domain.devices import DEVICE_BY_NAME
from reconvirt.domain.effects import Effect
from reconvirt.domain.fields import FIELD_BY_NAME
from reconvirt.domain.fragment import index_pieces, merge
from reconvirt.domain.host_names import name_host_device
from reconvirt.domain.patch import empty_domain
from reconvirt.domain.paths import Purpose, purpose_of
from reconvirt.domain.totals import NO_TOTALS, Totals
from reconvirt.domain.xmltree import parse_xml, reach
from reconvirt.manifest.units import format_memory

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where a path really leads.

    Attributes:
        named: the path with all links and ``..`` of its directory resolved, but not its last name.
        path: the path with everything resolved.
        problem: why it must not be used; "" if nothing is wrong with it.
        backing: for disk images, the paths of the other files that the image names.
    """

    named: str
    path: str
    problem: str = ""
    backing: tuple[str, ...] = ()


def look_at_nothing(path: str, _form: str) -> Resolved:
    """The resolver for a host whose files cannot be seen: ``..`` is refused, links are unknown."""
    clean = str(PurePosixPath(path))
    return Resolved(clean, clean, "it must not lead upwards" if ".." in path.split("/") else "")


@dataclass(frozen=True, slots=True)
class Admission:
    """What the host's configuration lets manifests ask for.

    Attributes:
        roots: the directories for each purpose of a path.
        formats: the formats of disks.
        emulators: patterns of emulators' paths.
        bridges: patterns of bridges.
        networks: patterns of libvirt's networks.
        network_devices: patterns of the host's network devices for macvtap.
        host_devices: patterns of ``TYPE:NAME``.
        refused_elements: patterns of element paths below ``<domain>``.
        max_vcpus: the most vCPUs, or None.
        max_memory: the most memory in KiB, or None.
        totals: the most that all virtual servers may have together.
        dump_directory: where reconvirt dumps crashed guests to; "" for nowhere.
        libvirt_dump_directory: where libvirt itself dumps guests to.
        resolve: finds out where a path leads, given the format of an image or "".
    """

    roots: Mapping[Purpose, tuple[str, ...]]
    formats: tuple[str, ...] = ("*",)
    emulators: tuple[str, ...] = ("*",)
    bridges: tuple[str, ...] = ("*",)
    networks: tuple[str, ...] = ("*",)
    network_devices: tuple[str, ...] = ("*",)
    host_devices: tuple[str, ...] = ("*",)
    refused_elements: tuple[str, ...] = ()
    max_vcpus: int | None = None
    max_memory: int | None = None
    totals: Totals = NO_TOTALS
    dump_directory: str = ""
    libvirt_dump_directory: str = "/var/lib/libvirt/qemu/dump"
    resolve: Callable[[str, str], Resolved] = field(default=look_at_nothing, compare=False)


def admit(desired: Desired, admission: Admission) -> Iterator[Change]:
    """What the host does not let this manifest ask for.

    The fields of the changes begin with ``spec``: nothing at all is done about a virtual server
    whose manifest asks for what it may not have.
    """
    for label, root in _layers(desired):
        seen = _Check(admission, label)
        yield from seen.maxima(root)
        for element in root.iter(etree.Element):
            yield from seen.element(element)
        yield from _made_images(desired, seen)
        yield from _dumps(desired, seen)


def _dumps(desired: Desired, check: _Check) -> Iterator[Change]:
    """Where a crashed guest is dumped to: the manifest says whether, the host says where."""
    directory = check.admission.dump_directory
    if directory and desired.policy.crash in ("dump", "dump-and-restart"):
        yield from check.dump_to(directory, "spec.policy.crash", desired.policy.crash)


def _layers(desired: Desired) -> Iterator[tuple[Mapping[_Element, str], _Element]]:
    """The domain that a manifest asks for, devices for hotplug included."""
    root = empty_domain(desired.name, desired.expected_uuid)
    labels: dict[_Element, str] = {root: "spec"}
    for kind_name, listed in desired.statement.devices.items():
        kind = DEVICE_BY_NAME[kind_name]
        for identity, stated in listed.items():
            element = render_device(kind, stated)
            reach(root, kind.where).append(element)
            labels[element] = f"spec.{kind.where}.{kind.name}[{identity}]".replace("/", ".")
    for name, value in desired.statement.fields.items():
        row = FIELD_BY_NAME[name]
        row.place.put(root, row.kind.write(value))
    for key, text in desired.statement.pieces.items():
        piece, found = parse_xml(text), index_pieces(root).get(key)
        if found is not None:
            merge(found, piece)
            continue
        (reach(root, "devices") if key.startswith("devices.") else root).append(piece)
        labels[piece] = f"spec.{piece_path(key)}"
    yield labels, root


def _made_images(desired: Desired, check: _Check) -> Iterator[Change]:
    """The backing files of images that are to be made, which no XML tells of."""
    for identity, stated in desired.statement.devices.get("disks", {}).items():
        path = stated.get("create.backing.file")
        form = str(stated.get("create.backing.format", ""))
        if isinstance(path, str) and (why := check.object_to_path(path, Purpose.DISK, form)):
            field_name = f"spec.devices.disks[{identity}].create.backing.file"
            yield Change(field_name, None, path, Effect.REFUSED, why)


@dataclass(frozen=True, slots=True)
class _Check:
    """The rules for one document."""

    admission: Admission
    labels: Mapping[_Element, str]

    def maxima(self, root: _Element) -> Iterator[Change]:
        """How much of the host a virtual server may have."""
        most_vcpus, most_memory = self.admission.max_vcpus, self.admission.max_memory
        vcpus = FIELD_BY_NAME["vcpu.maximum"].read(root)
        if most_vcpus is not None and isinstance(vcpus, int) and vcpus > most_vcpus:
            why = f"this host allows {most_vcpus} vCPUs at most (admission.max_vcpus)"
            yield Change("spec.vcpu.maximum", None, vcpus, Effect.REFUSED, why)
        memory = FIELD_BY_NAME["memory.size"].read(root)
        if most_memory is not None and isinstance(memory, int) and memory > most_memory:
            limit = format_memory(most_memory)
            why = f"this host allows {limit} of memory at most (admission.max_memory)"
            yield Change("spec.memory", None, format_memory(memory), Effect.REFUSED, why)

    def element(self, element: _Element) -> Iterator[Change]:
        """What one element asks for."""
        if etree.QName(element).namespace is not None:
            return  # whatever it is, allow_passthrough has decided
        where = _steps(element)
        for pattern in self.admission.refused_elements:
            if _fits(where, pattern):
                why = f"this host refuses <{element.tag}> (admission.refused_elements)"
                yield self._change(element, "", str(element.tag), why)
        yield from self._names(element, where)
        yield from self._dumps_by_libvirt(element, where)
        for name, value in _values(element):
            purpose = purpose_of(element, where, name, value)
            if purpose is not None:
                yield from self._path(element, name, value, purpose)

    def dump_to(self, directory: str, field_name: str, value: str) -> Iterator[Change]:
        """Whether dumps may be written into a directory."""
        # A file in it: the directory itself must not be such that others can put links into it.
        why = self.object_to_path(str(PurePosixPath(directory) / "dump"), Purpose.DUMP)
        if why:
            why = f"its memory would be dumped into {directory}: {why}"
            yield Change(field_name, None, value, Effect.REFUSED, why)

    def _names(self, element: _Element, where: str) -> Iterator[Change]:
        allowed = self.admission
        if where == "devices/interface/source":
            for name, patterns in (
                ("bridge", allowed.bridges),
                ("network", allowed.networks),
                ("dev", allowed.network_devices),
            ):
                if (value := element.get(name)) is not None and not _is_one_of(value, patterns):
                    setting = {"dev": "network_devices"}.get(name, f"{name}s")
                    yield self._change(element, name, value, _not_allowed(setting, patterns))
        elif where == "devices/disk/driver":
            form = element.get("type")
            if form is not None and not _is_one_of(form, allowed.formats):
                why = _not_allowed("disk_formats", allowed.formats)
                yield self._change(element, "type", form, why)
        elif where == "devices/hostdev":
            name = name_host_device(element)
            if not _is_one_of(name, allowed.host_devices):
                why = _not_allowed("host_devices", allowed.host_devices)
                yield self._change(element, "", name, why)

    def _dumps_by_libvirt(self, element: _Element, where: str) -> Iterator[Change]:
        """The XML says that libvirt dumps a guest; where to is said in libvirt's configuration."""
        if where == "on_crash" and (element.text or "").strip().startswith("coredump-"):
            name, value = "", (element.text or "").strip()
        elif where == "devices/watchdog" and element.get("action") == "dump":
            name, value = "action", "dump"
        else:
            return
        label = self._change(element, name, value, "").field
        yield from self.dump_to(self.admission.libvirt_dump_directory, label, value)

    def _path(self, element: _Element, name: str, value: str, purpose: Purpose) -> Iterator[Change]:
        form = _format(element) if purpose is Purpose.DISK else ""
        if why := self.object_to_path(value, purpose, form):
            yield self._change(element, name, value, why)
            return
        # The files that an image names are opened with it.
        for path in self.admission.resolve(value, form).backing:
            if why := self.object_to_path(path, purpose):
                yield self._change(element, name, path, f"the image {value} names it: {why}")

    def object_to_path(self, path: str, purpose: Purpose, form: str = "") -> str:
        """Why a path must not be used for a purpose; "" if it may."""
        if not path.startswith("/"):
            return "it must be an absolute path"
        found = self.admission.resolve(path, form)
        if purpose is Purpose.EMULATOR:
            known = any(PurePosixPath(found.path).match(e) for e in self.admission.emulators)
            return "" if known else _not_allowed("emulators", self.admission.emulators)
        roots = self.admission.roots.get(purpose, ())
        # A root may be a link itself; looking where it leads is spared where it need not be known.
        inside = any(self._is_inside(found, each) for each in roots) or any(
            self._is_inside(found, self.admission.resolve(each, "").path) for each in roots
        )
        if not inside:
            leads = f"it leads to {found.path}, which" if found.path != path else "it"
            within = f"is in none of {', '.join(roots)}" if roots else "is allowed nowhere"
            return f"{leads} {within} (admission.{purpose})"
        return found.problem

    def _is_inside(self, found: Resolved, root: str) -> bool:
        if PurePosixPath(found.path).is_relative_to(root):
            return True
        # Only the host's own root makes links below /dev, and what they lead to changes names.
        devices = all(PurePosixPath(each).is_relative_to("/dev") for each in (root, found.path))
        return devices and PurePosixPath(found.named).is_relative_to(root)

    def _change(self, element: _Element, name: str, value: str, why: str) -> Change:
        parts: list[str] = [name] if name else []
        each: _Element | None = element
        while each is not None and each not in self.labels:
            parts.append(str(each.tag))
            each = each.getparent()
        label = self.labels[each] if each is not None else "spec"
        return Change(".".join((label, *reversed(parts))), None, value, Effect.REFUSED, why)


def _format(source: _Element) -> str:
    """The format of the disk whose source this is; "" if none is stated."""
    parent = source.getparent()
    if parent is None:
        return ""
    form = parent.find("format" if parent.tag == "backingStore" else "driver")
    return "" if form is None else form.get("type", "")


def _values(element: _Element) -> Iterator[tuple[str, str]]:
    """The attributes and, under the name "", the text."""
    yield from ((str(name), str(value)) for name, value in element.attrib.items())
    if text := (element.text or "").strip():
        yield "", text


def _steps(element: _Element) -> str:
    """Where an element stands below ``<domain>``: ``devices/disk/source``."""
    above = [str(each.tag) for each in element.iterancestors()][:-1]
    return "/".join((*reversed(above), str(element.tag))) if element.getparent() is not None else ""


@functools.lru_cache(maxsize=4096)
def _fits(where: str, pattern: str) -> bool:
    steps, patterns = where.split("/"), pattern.split("/")
    return len(steps) == len(patterns) and all(map(fnmatchcase, steps, patterns))


def _is_one_of(value: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns)


def _not_allowed(setting: str, allowed: tuple[str, ...]) -> str:
    return f"this host allows {', '.join(allowed) or 'none'} (admission.{setting})"
