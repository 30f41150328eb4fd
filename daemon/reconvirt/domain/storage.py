"""Whether a disk may be pointed at another source: what a guest writes to is never exchanged.

A snapshot, a block copy, a commit or a person can move a disk to another source without reconvirt.
Pointing it back would give the guest other content than it wrote. So the source of a disk that
can be written to is changed only if the manifest itself has changed since it was last applied, the
disk is exactly where it was applied, and no block job works on it. Everything else is *diverged*:
it is reported, and stays as it is while other changes of the same virtual server go on around it.

An overlay whose chain leads to the stated image has the stated content and what the guest wrote
since: it is in sync, and stays as well.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from reconvirt.domain.changes import Change
from reconvirt.domain.compare import device_path, index_devices
from reconvirt.domain.desired import NOTHING, Statement
from reconvirt.domain.disk_source import (
    Source,
    disks_of,
    is_writable,
    read_source,
    stated_source,
    states,
    with_source_of,
    without_source,
)
from reconvirt.domain.effects import Effect
from reconvirt.domain.kinds.disks import DISK

if TYPE_CHECKING:
    from lxml.etree import _Element

Chains: TypeAlias = Mapping[str, tuple[str, ...]]
"""The files below an image, as the headers of images name them, by its path."""

OnOtherSource: TypeAlias = tuple[str, str, str]
"""A disk that is not where it is stated: its present path, its format, and the stated path."""

ReadChains: TypeAlias = Callable[[tuple[OnOtherSource, ...]], Chains]
"""Reads the headers of images."""


def no_chains(_disks: tuple[OnOtherSource, ...]) -> Chains:
    """Where no header can be read."""
    return {}


Layer: TypeAlias = "tuple[_Element, Statement | None]"
"""The configuration or what runs, and what was last applied to it."""


@dataclass(frozen=True, slots=True)
class Storage:
    """What a plan must know of the sources of a virtual server's disks.

    Attributes:
        held: the disks, by target.dev, whose sources are left as they are.
        diverged: what is reported of those that are not where their manifest has them.
        overlays: what is reported of those that are on an overlay of the stated image.
        waiting: the running disks that keep the source that they were started with until the next
            start, as their manifest has changed since.
        stated: all disks that the manifest states.
        split: whether the next start would have a disk on other content than it has now.
        applied: what was last applied to the configuration, and to what runs.
    """

    held: frozenset[str] = frozenset()
    diverged: tuple[Change, ...] = ()
    overlays: tuple[Change, ...] = ()
    waiting: frozenset[str] = frozenset()
    stated: frozenset[str] = frozenset()
    split: bool = False
    applied: tuple[Statement, Statement] = (NOTHING, NOTHING)

    @property
    def moved(self) -> frozenset[str]:
        """The places in the manifest of the disks that have diverged."""
        return frozenset(each.field.removesuffix(".source") for each in self.diverged)

    def strip(self, statement: Statement) -> Statement:
        """A statement that says nothing of the sources that are left as they are.

        Of a disk that the manifest does not state any more, it says nothing at all.
        """
        for name in self.held:
            statement = without_source(statement, name, whole=name not in self.stated)
        return statement

    def keep(self, statement: Statement, *, live: bool) -> Statement:
        """A statement as it is recorded: a source that was not applied stays as it last was.

        Args:
            statement: what is applied otherwise.
            live: to what runs, or to the configuration.
        """
        for name in self.held | (self.waiting if live else frozenset()):
            bare = without_source(statement, name)
            statement = with_source_of(bare, self.applied[live], name)
        return statement


NO_STORAGE = Storage()


def judge_storage(
    name: str,
    wanted: Statement,
    config: Layer,
    live: Layer | None,
    read_chains: ReadChains = no_chains,
) -> Storage:
    """Which sources are left as they are, and what is reported of them.

    Args:
        name: the virtual server's.
        wanted: what its manifest states.
        config: the configuration.
        live: what runs; None if it does not run.
        read_chains: reads the headers of images.
    """
    elsewhere = tuple(_on_other_sources(wanted, config[0], *(live or ())[:1]))
    chains = read_chains(elsewhere) if elsewhere else {}
    before = config[1] or NOTHING
    layers = [_Disks(index_devices(DISK, config[0]), before)]
    if live is not None:
        # One that was started before it was taken over has nothing recorded of its own.
        layers.append(_Disks(index_devices(DISK, live[0]), live[1] or before))
    stated = disks_of(wanted)
    known = dict.fromkeys((*stated, *(disk for each in layers for disk in disks_of(each.applied))))
    found = [_judge(_Case(name, disk, wanted, chains), layers) for disk in known]
    return Storage(
        frozenset(each.disk for each in found if each.held),
        tuple(each.diverged for each in found if each.diverged is not None),
        tuple(each.overlay for each in found if each.overlay is not None),
        frozenset(each.disk for each in found if each.waits),
        frozenset(stated),
        any(each.split for each in found),
        (before, layers[-1].applied),
    )


@dataclass(frozen=True, slots=True)
class _Disks:
    """The disks of one layer by target.dev, and what was last applied to it."""

    elements: Mapping[str, _Element]
    applied: Statement


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is decided about one disk; the attributes are those of :class:`Storage`."""

    disk: str
    held: bool = False
    diverged: Change | None = None
    overlay: Change | None = None
    waits: bool = False
    split: bool = False


def _judge(case: _Case, layers: list[_Disks]) -> _Verdict:
    """What is decided about a disk, from all layers together."""
    there = [(each, each.elements[case.disk]) for each in layers if case.disk in each.elements]
    findings = [
        case.look(element, each.applied, runs=each is not layers[0])
        for each, element in there
        if is_writable(element)
    ]
    # What the guest writes to now is what counts: the last layer is what runs.
    moved = next((each for each in reversed(findings) if each.kind == "moved"), None)
    overlay = next((each for each in reversed(findings) if each.kind == "overlay"), None)
    job = next((each.job for each in findings if each.job), "")
    free = [each for each in findings if each.kind == "free"]
    reported = moved or (overlay if overlay is not None and overlay.why else None)
    split = reported is not None and len({read_source(element) for _, element in there}) > 1
    apart = (
        "; its configuration has another source than it runs on, so it is not restarted for other "
        "changes"
    )
    if reported is not None and (split or moved is not None):
        why = reported.why + (apart if split else "")
        return _Verdict(case.disk, True, case.change(reported.present, why), split=split)
    if overlay is not None:
        shown = case.change(overlay.present, overlay.why) if overlay.why else None
        return _Verdict(case.disk, True, overlay=shown)
    if free and job:
        return _Verdict(case.disk, True, case.change(free[0].present, case.busy(job)))
    return _Verdict(case.disk, waits=case.listed and any(each.runs for each in free))


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one layer shows of a disk.

    Attributes:
        kind: ``same`` as stated; ``overlay`` of what is stated; ``free`` to be changed, since it
            is where it was applied; else ``moved``.
        present: where it is.
        why: what is reported.
        runs: whether the layer is what runs.
        job: the block job that works on it; "" for none.
    """

    kind: str
    present: Source
    why: str = ""
    runs: bool = False
    job: str = ""


@dataclass(frozen=True, slots=True)
class _Case:
    """One disk of one virtual server, and what its manifest states of it."""

    name: str
    disk: str
    wanted: Statement
    chains: Chains

    @property
    def listed(self) -> bool:
        """Whether the manifest states the disk at all."""
        return self.disk in disks_of(self.wanted)

    def look(self, element: _Element, applied: Statement, *, runs: bool) -> _Finding:
        """What one layer shows."""
        present, stated = read_source(element), stated_source(self.wanted, self.disk)
        mirror = element.find("mirror")
        job = "" if mirror is None else mirror.get("job", "copy")
        if self.listed and (stated is None or states(self.wanted, self.disk, element)):
            return _Finding("same", present, runs=runs, job=job)
        if stated is not None and leads_to(element, stated.place, self.chains):
            # libvirt itself puts a transient disk on an overlay for as long as it runs.
            own = element.find("transient") is not None
            return _Finding("overlay", present, "" if own else self._on_overlay(runs=runs), runs)
        if states(applied, self.disk, element):
            return _Finding("free", present, runs=runs, job=job)
        known = stated_source(applied, self.disk) is not None
        return _Finding("moved", present, self._moved(known=known, runs=runs), runs)

    def change(self, present: Source, why: str) -> Change:
        """A disk as it is reported."""
        stated = stated_source(self.wanted, self.disk)
        field = f"{device_path(DISK, self.disk)}.source"
        new = None if stated is None else stated.show(present)
        return Change(field, present.show(stated), new, Effect.REFUSED, why)

    def busy(self, job: str) -> str:
        """Why a disk with a block job stays where it is."""
        return (
            f"a block job ({job}) works on it, and it is left as it is until that has ended: wait, "
            f"or end it with 'virsh blockjob {self.name} {self.disk} --pivot' or '--abort'"
        )

    def _moved(self, *, known: bool, runs: bool) -> str:
        where = "it runs on" if runs else "its configuration has"
        accept = "to accept that, state this source in the manifest"
        if not self.listed:
            return (
                f"its manifest does not list it any more, and {where} a source that no manifest "
                f"put there, so it is not detached; if it shall go: 'virsh detach-disk {self.name} "
                f"{self.disk}'"
            )
        if not known:
            return (
                f"{where} another source than its manifest states, which was never applied to it, "
                f"so it is left there; {accept}; or point it at the manifest's by 'virsh edit "
                f"{self.name}'"
            )
        return (
            f"{where} another source than was applied: a snapshot, a block copy or a person has "
            f"moved it, and it is left there; {accept}; to go back, commit it or copy it there "
            "('virsh blockcommit' or 'blockcopy', with --pivot)"
        )

    def _on_overlay(self, *, runs: bool) -> str:
        merge = f"'virsh blockcommit {self.name} {self.disk} --active --pivot' merges it"
        return (
            "it is on an overlay of the image that its manifest states, as after a snapshot; that "
            f"is in sync; {merge}{'' if runs else ' while it runs'}"
        )


def leads_to(disk: _Element, path: str, chains: Chains) -> bool:
    """Whether an image stands in the chain below a disk's present one."""
    if not path:
        return False
    below = (*_chain(disk), *chains.get(read_source(disk).place, ()))
    return posixpath.normpath(path) in map(posixpath.normpath, below)


def _chain(disk: _Element) -> Iterator[str]:
    """The paths below a disk's image that libvirt writes out: all of what runs."""
    for each in disk.iterfind(".//backingStore/source"):
        if path := each.get("file") or each.get("dev"):
            yield path


def _on_other_sources(wanted: Statement, *layers: _Element) -> Iterator[OnOtherSource]:
    """The disks that are not where they are stated."""
    for root in layers:
        for disk, element in index_devices(DISK, root).items():
            stated, present = stated_source(wanted, disk), read_source(element)
            if stated is not None and stated.place and stated.place != present.place:
                yield present.place, present.form, stated.place
