"""The book's advice on what a manifest says: nothing is refused, all of it is worth a look."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reconvirt.domain.compare import device_path
from reconvirt.domain.desired import Desired
from reconvirt.domain.kinds.disks import DISK
from reconvirt.domain.kinds.interfaces import INTERFACE
from reconvirt.domain.rows import Stated


@dataclass(frozen=True, slots=True)
class Advice:
    """Something that will do harm some day.

    Attributes:
        field: what it is about.
        message: what, and what is better.
    """

    field: str
    message: str


_UNSTABLE = re.compile(r"/dev/(sd[a-z]+|dasd[a-z]+)\d*")
_ONE_PATH = re.compile(r"/dev/disk/by-(id/(scsi|wwn)-|path/.*(zfcp|fc)-).*")


def advise(desired: Desired) -> tuple[Advice, ...]:
    """All advice on one manifest."""
    return tuple(each for advice in ADVICE for each in advice(desired))


def _disks(desired: Desired) -> Iterator[tuple[str, Stated]]:
    for identity, stated in desired.statement.devices.get(DISK.name, {}).items():
        yield device_path(DISK, identity), stated


def _unstable_names(desired: Desired) -> Iterator[Advice]:
    for path, stated in _disks(desired):
        name = str(stated.get("source.dev", ""))
        if _UNSTABLE.fullmatch(name):
            better = (
                "/dev/disk/by-path/ccw-<bus-ID>" if "dasd" in name else "/dev/mapper/<multipath>"
            )
            message = f"{name} may be another device after the host's next start: use {better}"
            yield Advice(f"{path}.source.dev", message)


def _single_paths(desired: Desired) -> Iterator[Advice]:
    for path, stated in _disks(desired):
        name = str(stated.get("source.dev", ""))
        if _ONE_PATH.fullmatch(name):
            message = (
                f"{name} is one path to a SCSI disk; with multipathing, use its name below "
                "/dev/mapper, so that the disk outlives a path"
            )
            yield Advice(f"{path}.source.dev", message)


def _threads_of_copied_disks(desired: Desired) -> Iterator[Advice]:
    for identity, stated in desired.statement.devices.get(DISK.name, {}).items():
        if identity in desired.policy.copied and "driver.iothread" in stated:
            message = "a disk with an I/O thread cannot be copied in a live migration"
            yield Advice(f"{device_path(DISK, identity)}.driver.iothread", message)


def _mixed_device_numbers(desired: Desired) -> Iterator[Advice]:
    explicit: list[str] = []
    implicit: list[str] = []
    for kind in (DISK, INTERFACE):
        for identity, stated in desired.statement.devices.get(kind.name, {}).items():
            channel = kind is INTERFACE or stated.get("target.bus") == "virtio"
            if channel and desired.statement.fields.get("os.arch") == "s390x":
                where = explicit if "address.devno" in stated else implicit
                where.append(device_path(kind, identity))
    if explicit and implicit:
        message = (
            f"it has no device number while {explicit[0]} has one: state all or none, or a new "
            "device may take a number that you meant for another"
        )
        yield Advice(f"{implicit[0]}.address", message)


def _dumps_of_destroyed(desired: Desired) -> Iterator[Advice]:
    dumps = desired.policy.crash in ("dump", "dump-and-restart")
    if dumps and desired.statement.fields.get("on_crash") != "preserve":
        message = (
            "libvirt ends a crashed guest before its memory can be dumped: state on_crash: preserve"
        )
        yield Advice("policy.crash", message)


ADVICE: tuple[Callable[[Desired], Iterator[Advice]], ...] = (
    _unstable_names,
    _single_paths,
    _threads_of_copied_disks,
    _mixed_device_numbers,
    _dumps_of_destroyed,
)
