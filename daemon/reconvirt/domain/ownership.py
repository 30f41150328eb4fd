"""Whose a domain is: the one place that decides it, for planning, moving, pruning and showing.

A domain is ours if what was last applied to it, as its metadata says, was written for this uuid
and this name by this source. Metadata is copied when a domain is cloned, and stays when a domain
is renamed: by itself it owns nothing. A manifest that states ``metadata.uuid`` claims the domain of
that uuid, whatever its metadata says, unless another source has taken it over in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from reconvirt.domain.changes import Change
from reconvirt.domain.desired import (
    IDENTITY_NAME,
    IDENTITY_UUID,
    NOTHING,
    SOURCE,
    TAKEN_FROM,
    Desired,
    Origin,
    Statement,
)
from reconvirt.domain.effects import Effect
from reconvirt.domain.mark import NAMESPACE, read_mark
from reconvirt.domain.observed import Observed
from reconvirt.domain.xmltree import parse_xml
from reconvirt.manifest.identity import derive_uuid


class Owner(Enum):
    """What a domain's metadata says of its owner."""

    UNMARKED = auto()
    """It has no metadata of reconvirt."""
    COPY = auto()
    """The metadata was written for another uuid: the domain is a clone."""
    RENAMED = auto()
    """The metadata was written for another name: the domain was renamed by hand."""
    OTHER_SOURCE = auto()
    """Another source has applied it."""
    OURS = auto()
    """It was written for this domain, by this source."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A domain that carries a mark.

    Attributes:
        uuid: its uuid.
        mark: what was last applied to it.
        active: whether there is a QEMU process.
    """

    uuid: str
    mark: Statement
    active: bool = True


def owner_of(
    mark: Statement | None, uuid: str, name: str, origin: Origin, expected: str | None = None
) -> Owner:
    """What a domain's metadata says of its owner.

    Args:
        mark: what was last applied to it; None where it has no metadata.
        uuid: its uuid.
        name: its name.
        origin: the source in question; one without a name does not count.
        expected: the uuid that counts where earlier versions have not noted any; the one derived
            from the name if None.
    """
    if mark is None:
        return Owner.UNMARKED
    if mark.notes.get(IDENTITY_UUID, expected or derive_uuid(name)) != uuid:
        return Owner.COPY
    if mark.notes.get(IDENTITY_NAME, name) != name:
        return Owner.RENAMED
    source = mark.notes.get(SOURCE, "")
    if source and origin.source and source not in (origin.source, *origin.former):
        return Owner.OTHER_SOURCE
    return Owner.OURS


@dataclass(frozen=True, slots=True)
class Ownership:
    """Whether the domain that a manifest meets is the manifest's.

    Attributes:
        refusal: why it is not, and what to do; None if it is.
        desired: what is wanted, with the notes that bind the metadata to this domain.
        mark: what was last applied to it; nothing where the metadata is another domain's.
        copied: whether its metadata is another domain's.
    """

    refusal: Change | None
    desired: Desired
    mark: Statement | None
    copied: bool = False


def judge_ownership(desired: Desired, observed: Observed, mark: Statement | None) -> Ownership:
    """Whether a domain is the one that a manifest means.

    Args:
        desired: the manifest.
        observed: the domain that has its name or its uuid.
        mark: what was last applied to the domain, as its configuration says.
    """
    uuid, name = observed.uuid, observed.name
    owner = owner_of(mark, uuid, name, desired.origin, desired.expected_uuid)
    copied = owner is Owner.COPY
    if (refusal := _refusal(desired, observed, mark, owner)) is not None:
        return Ownership(refusal, desired, mark, copied)
    notes = {IDENTITY_UUID: uuid}
    if mark is not None and not copied:
        taken = set(filter(None, mark.notes.get(TAKEN_FROM, "").split(",")))
        if owner is Owner.OTHER_SOURCE:
            taken.add(mark.notes[SOURCE])
        if taken - {desired.origin.source}:
            notes[TAKEN_FROM] = ",".join(sorted(taken - {desired.origin.source}))
    return Ownership(None, with_notes(desired, notes), NOTHING if copied else mark, copied)


def is_ours(desired: Desired, observed: Observed) -> bool:
    """Whether a domain is the one that a manifest means."""
    mark = read_mark(parse_xml(observed.config))
    return judge_ownership(desired, observed, mark).refusal is None


def with_notes(desired: Desired, notes: dict[str, str]) -> Desired:
    """The same with more notes for the metadata."""
    statement = desired.statement
    return replace(desired, statement=replace(statement, notes={**statement.notes, **notes}))


def _refusal(
    desired: Desired, observed: Observed, mark: Statement | None, owner: Owner
) -> Change | None:
    uuid, name = observed.uuid, observed.name
    noted = mark.notes if mark is not None else {}
    if desired.uuid is not None:
        if desired.uuid != uuid:
            why = "the virtual server of this name has another uuid, which cannot be changed"
            return _change("metadata.uuid", uuid, desired.uuid, why)
        if owner is Owner.OTHER_SOURCE and desired.origin.source in _taken_from(mark):
            why = (
                f"the source {noted[SOURCE]!r} has taken it over from this one; remove one of the "
                f"two manifests; to take it back, 'virsh metadata {name} {NAMESPACE} --remove "
                "--config', and --live if it runs"
            )
            return _change("metadata.uuid", uuid, desired.uuid, why)
        return None
    if name != desired.name:
        why = f"the domain {name} has the uuid of this virtual server ({uuid})"
        if noted.get(IDENTITY_NAME, desired.name) == desired.name and mark is not None:
            why += f", and was renamed by hand; 'virsh domrename {name} {desired.name}' undoes that"
        return _change("metadata.name", name, desired.name, f"{why}; or state metadata.uuid")
    state_it = f"state metadata.uuid: {uuid}"
    match owner:
        case Owner.UNMARKED if uuid != desired.expected_uuid:
            why = (
                "a virtual server of this name exists that reconvirt did not make; to take it "
                f"over, {state_it}, or let 'reconvirt import' write its manifest"
            )
        case Owner.COPY:
            whose = noted.get(IDENTITY_NAME, "another one")
            why = (
                f"the domain of this name is a copy of {whose}: its metadata was written for "
                f"another uuid; to have it managed, {state_it}"
            )
        case Owner.RENAMED:
            before = noted[IDENTITY_NAME]
            why = (
                f"the domain {before} was renamed to this name by hand; 'virsh domrename {name} "
                f"{before}' undoes that; to have it managed under this name, {state_it}"
            )
        case Owner.OTHER_SOURCE:
            source = noted[SOURCE]
            why = (
                f"the source {source!r} manages it; to take it over, remove its manifest there and "
                f"{state_it}; if that source was renamed, list it in former_source_names"
            )
        case _:
            return None
    return _change("metadata.uuid", uuid, None, why)


def _taken_from(mark: Statement | None) -> list[str]:
    return mark.notes.get(TAKEN_FROM, "").split(",") if mark is not None else []


def _change(field: str, old: str, new: str | None, why: str) -> Change:
    return Change(field, old, new, Effect.REFUSED, why)
