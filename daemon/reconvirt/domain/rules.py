"""What a host allows in manifests, and what fits together in none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lxml import etree

from reconvirt.domain.admission import Admission, admit
from reconvirt.domain.changes import Change
from reconvirt.domain.compare import device_path, piece_path
from reconvirt.domain.desired import Desired
from reconvirt.domain.devices import DEVICES
from reconvirt.domain.effects import Effect
from reconvirt.domain.fields import FIELDS
from reconvirt.domain.fragment import piece_key
from reconvirt.domain.rows import Field, Stated
from reconvirt.domain.totals import NO_TOTALS, Totals
from reconvirt.domain.xmltree import parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element


@dataclass(frozen=True, slots=True)
class HostRules:
    """What the host's own configuration allows.

    Attributes:
        passthrough: whether ``spec.xml`` may hand arguments through to QEMU
            (``qemu:commandline`` and whatever else has a namespace of its own).
        admission: what manifests may ask for; None for anything.
    """

    passthrough: bool = False
    admission: Admission | None = None

    @property
    def totals(self) -> Totals:
        """The most that all virtual servers may have together."""
        return self.admission.totals if self.admission else NO_TOTALS


NO_RULES = HostRules()
"""What a host allows whose configuration says nothing."""


def object_to(desired: Desired, rules: HostRules) -> tuple[Change, ...]:
    """What is refused whatever libvirt has."""
    admitted = admit(desired, rules.admission) if rules.admission else ()
    return (
        *_passthrough(desired, rules),
        *admitted,
        *_contradictions(desired),
        *_unresolved(desired),
    )


def _passthrough(desired: Desired, rules: HostRules) -> Iterator[Change]:
    if rules.passthrough:
        return
    why = (
        "it hands arguments to QEMU past libvirt, which can do anything on the host; only the "
        "host's own configuration can allow it: allow_passthrough = true"
    )
    for key, text in desired.statement.pieces.items():
        if any(etree.QName(each).namespace is not None for each in parse_xml(text).iter()):
            yield Change(piece_path(key), None, key, Effect.REFUSED, why)


def _contradictions(desired: Desired) -> Iterator[Change]:
    """Where ``spec.xml`` says something else than the key for the same thing."""
    if not desired.statement.pieces:
        return
    root = etree.Element("domain")
    for key, text in desired.statement.pieces.items():
        if not key.startswith("devices."):
            root.append(parse_xml(text))
    yield from _contradicted(FIELDS, desired.statement.fields, root)
    for kind in DEVICES:
        for identity, stated in desired.statement.devices.get(kind.name, {}).items():
            if piece := desired.statement.pieces.get(piece_key(kind.element, identity)):
                path = f"{device_path(kind, identity)}."
                yield from _contradicted(kind.fields, stated, parse_xml(piece), path)


def _contradicted(
    rows: tuple[Field, ...], stated: Stated, root: _Element, path: str = ""
) -> Iterator[Change]:
    for row in rows:
        wanted, found = stated.get(row.name), row.read(root)
        if wanted is None or found is None or row.place.get(root) in ("no", "0", ""):
            continue
        if not row.kind.agrees(wanted, found, live=False):
            why = f"spec.{path}{row.name} states {row.kind.show(wanted)}; say it in one place"
            shown = row.kind.show(found) if not isinstance(found, str) else found
            yield Change(f"xml: {path}{row.name}", None, shown, Effect.REFUSED, why)


def _unresolved(desired: Desired) -> Iterator[Change]:
    for each in desired.unresolved:
        name = "/".join(
            str(each.stated.get(f"source.{part}", "")) for part in ("device", "wwpn", "lun")
        )
        yield Change(f"devices.{each.kind}", None, name, Effect.REFUSED, each.reason)
