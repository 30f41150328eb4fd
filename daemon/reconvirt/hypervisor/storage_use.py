"""Which storage is in use on this host, and by whom: two that write to one source destroy it.

Sources are told apart by what they are, not by what they are called: a block device by its device
number, a file by its inode, whatever links lead to it. What runs is asked of libvirt, and QEMU's
locks on image files tell of all other processes. Block devices are compared by the host's own
names: QEMU may have a ``/dev`` of its own, whose nodes are others, and so are the locks on them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import posixpath
import stat
import struct
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from reconvirt.domain.disk_uses import DiskUse, disk_uses
from reconvirt.domain.storage import Chains, OnOtherSource
from reconvirt.hypervisor.examine import examine
from reconvirt.hypervisor.image_header import named_files

Keys: TypeAlias = frozenset[Hashable]
"""What tells a source from others; two that have one in common are the same."""

_LOOP_MAJOR = 7
# QEMU's block/file-posix.c: one byte for each permission that somebody has, and one for each that
# somebody does not share with others; the second permission is to write.
_WRITES, _KEEPS_FROM_WRITING = 101, 201
_FLOCK = "hhqqi4x"


@dataclass(frozen=True, slots=True)
class ActiveDomain:
    """A domain that runs.

    Attributes:
        uuid: its uuid.
        name: its name.
        domain_id: its number; a new start gives a new one.
    """

    uuid: str
    name: str
    domain_id: int


@dataclass(slots=True)
class StorageUse:
    """Finds out who uses which storage.

    Attributes:
        local: whether libvirt runs on this host, whose files we see.
        volume_path: where a volume of a storage pool is, by ``pool/volume``; "" if unknown.
    """

    local: bool
    volume_path: Callable[[str], str] = lambda _volume: ""
    _known: dict[str, tuple[int, tuple[DiskUse, ...]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _claims: dict[str, Mapping[DiskUse, Keys]] = field(default_factory=dict)

    def conflicts(
        self,
        uuid: str,
        xml: str,
        list_active: Callable[[], Iterable[ActiveDomain]],
        read_xml: Callable[[ActiveDomain], str | None],
        *,
        claim: bool = False,
    ) -> tuple[str, ...]:
        """Why a domain or a device must not be opened, a sentence each; nothing if it may.

        Args:
            uuid: of the domain that is to open it.
            xml: of that domain, or of the device.
            list_active: lists all domains that run.
            read_xml: the active XML of one; None if it is gone, or does not answer.
            claim: whether it is opened directly afterwards: until :meth:`release` others that are
                to open the same are told so.
        """
        keys = self._keys_of(self._wanted(xml))
        if not keys:
            return ()
        # Before libvirt is asked: whoever has opened it meanwhile shows there.
        found = self._claim(uuid, keys, claim=claim)
        own: set[Hashable] = set()
        running = tuple(list_active())
        for domain in running:
            theirs = self._keys_of(self._uses_of(domain, read_xml))
            if domain.uuid == uuid:
                own.update(*theirs.values())
            else:
                found = {
                    **_compare(keys, theirs, f"{domain.name}, which runs on this host,"),
                    **found,
                }
        self._forget_all_but(running)
        for mine in keys:
            unseen = self.local and mine not in found and mine.path and not keys[mine] & own
            if unseen and (why := _lock_conflict(mine)):
                found[mine] = why
        return tuple(dict.fromkeys(found.values()))

    def release(self, uuid: str) -> None:
        """What a domain was to open is open, or has failed to be."""
        with self._lock:
            self._claims.pop(uuid, None)

    def _claim(self, uuid: str, keys: Mapping[DiskUse, Keys], *, claim: bool) -> dict[DiskUse, str]:
        """What others are about to open, and the conflicts with that."""
        with self._lock:
            found: dict[DiskUse, str] = {}
            for other, theirs in self._claims.items():
                if other != uuid:
                    found |= _compare(keys, theirs, f"{other}, which is being started,")
            if claim and not found:
                self._claims[uuid] = keys
            return found

    def _wanted(self, xml: str) -> list[DiskUse]:
        """What is to be opened and must not be shared: disks, and the images below them."""
        alone = [each for each in disk_uses(xml) if each.writes and not each.shareable]
        if not alone:
            return []
        uses = [*alone, *(each for each in disk_uses(xml) if each.below)]
        return [*uses, *self._below(uses)]

    def _forget_all_but(self, running: Iterable[ActiveDomain]) -> None:
        with self._lock:
            for gone in self._known.keys() - {each.uuid for each in running}:
                del self._known[gone]

    def _uses_of(
        self, domain: ActiveDomain, read_xml: Callable[[ActiveDomain], str | None]
    ) -> tuple[DiskUse, ...]:
        """What one that runs has open; what it had before, where it does not answer now."""
        xml = read_xml(domain)
        with self._lock:
            if xml is not None:
                self._known[domain.uuid] = domain.domain_id, disk_uses(xml)
            number, uses = self._known.get(domain.uuid, (domain.domain_id, ()))
        return uses if number == domain.domain_id else ()

    def _below(self, uses: Iterable[DiskUse]) -> Iterator[DiskUse]:
        """The images below those that are to be opened, as their headers name them."""
        for each in uses if self.local else ():
            if each.path and not each.below:
                for path in _header(each.path, each.source.form):
                    kind = "block" if path.startswith("/dev/") else "file"
                    source = type(each.source)(kind, path, "")
                    yield DiskUse(each.disk, source, writes=False, below=True)

    def _keys_of(self, uses: Iterable[DiskUse]) -> Mapping[DiskUse, Keys]:
        paths = {each: self._path_of(each) for each in uses}
        looked = examine({p for p in paths.values() if p}, _identify) if self.local else {}
        return {
            each: frozenset({path, *looked.get(path, ())}) if path else frozenset({each.source})
            for each, path in paths.items()
        }

    def _path_of(self, use: DiskUse) -> str:
        path = use.path
        if use.source.kind == "volume":
            path = self.volume_path(use.source.place)
        return posixpath.normpath(path) if path else ""


def _compare(
    mine: Mapping[DiskUse, Keys], theirs: Mapping[DiskUse, Keys], who: str
) -> dict[DiskUse, str]:
    """Which of our sources another one has, and why that excludes ours."""
    return {
        use: why
        for use, keys in mine.items()
        for other, their_keys in theirs.items()
        if keys & their_keys and (why := _conflict(use, other, who))
    }


def _conflict(mine: DiskUse, other: DiskUse, who: str) -> str:
    """Why two uses of one source exclude each other; "" if they do not."""
    where = f"{mine.source.place} ({mine.disk})"
    if mine.below:
        if not other.writes:
            return ""
        return f"{where} is below the image that is to be opened, and {who} writes to it"
    if other.writes and other.shareable:
        return f"{where} is not shareable here, and {who} has it open as shareable"
    how = "has it open for writing" if other.writes else "has it open"
    if other.below:
        how = "has it open as the base of its own image"
    return f"{where}: {who} {how} (its {other.disk})"


def _lock_conflict(mine: DiskUse) -> str:
    """Whether another process holds QEMU's lock on an image; "" if none does."""
    held = examine({mine.path}, lambda path: _locked(path, writes=mine.writes)).get(mine.path)
    if not held:
        return ""
    return (
        f"{mine.source.place} ({mine.disk}): another process on this host {held} "
        f"('fuser -v {mine.source.place}' names it)"
    )


def _locked(path: str, *, writes: bool) -> str:
    """What another process does with an image, by QEMU's locks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""  # it is to be made, or we may not read it: QEMU sees to it itself
    try:
        if _is_locked(descriptor, _WRITES):
            return "has it open for writing"
        if writes and _is_locked(descriptor, _KEEPS_FROM_WRITING):
            return "reads it and lets nothing write to it"
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)
    return ""


def _is_locked(descriptor: int, byte: int) -> bool:
    question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, question)
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


def _identify(path: str) -> Keys:
    """What a path is: the number of a block device, or the inode of a file."""
    try:
        found = Path(path).stat()
    except OSError:
        return frozenset()
    if not stat.S_ISBLK(found.st_mode):
        return frozenset({("inode", found.st_dev, found.st_ino)})
    keys: set[Hashable] = {("device", found.st_rdev)}
    if os.major(found.st_rdev) == _LOOP_MAJOR:
        # A loop device is the file behind it, under another name.
        number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
        try:
            behind = Path(f"/sys/dev/block/{number}/loop/backing_file").read_text(encoding="utf-8")
            there = Path(behind.rstrip("\n")).stat()
        except OSError:
            return frozenset(keys)
        keys.add(("inode", there.st_dev, there.st_ino))
    return frozenset(keys)


def read_chains(disks: Iterable[OnOtherSource]) -> Chains:
    """The files below images, as their headers name them, by the path of each image.

    The stated path is among them if one of them is that very file under another name.
    """
    chains: dict[str, tuple[str, ...]] = {}
    for path, form, stated in disks:
        below = _header(path, form) if path.startswith("/") else ()
        known = examine((stated, *below), _identify)
        meant = known.get(stated, frozenset())
        same = (stated,) if any(meant & known.get(each, frozenset()) for each in below) else ()
        chains[path] = (*chains.get(path, ()), *below, *same)
    return chains


def _header(path: str, form: str) -> tuple[str, ...]:
    try:
        return named_files(path, form)
    except (OSError, ValueError):
        return ()
