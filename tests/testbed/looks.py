"""One look at the virtual servers of the started hosts: by the kernel's files and libvirt's.

Nothing here asks libvirt, so that nothing waits for one that hangs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

from testbed.ledger import now
from testbed.started import HOSTS, Started

YOUNG_SECONDS = 60.0  # as long a process may become an emulator: libvirt forks first
_TICK = os.sysconf("SC_CLK_TCK")
_LOOP = 7  # the major number of loop devices
_SETTLING = ("starting up", "migration")  # reasons to be paused that are no guest's yet

Inode = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Emulator:
    """A QEMU process of a virtual server.

    Attributes:
        host: the host's name.
        place: the host's directory, which no other one has.
        started: when, by `now`.
        state: what libvirt has noted last: running, paused …
        writes: the files and block devices that it has open for writing.
        shared: those among its disks that several may write to.
    """

    host: str
    place: Path
    pid: int
    started: float
    name: str
    uuid: str
    state: str
    writes: frozenset[Inode]
    shared: frozenset[Inode]


@dataclass(frozen=True, slots=True)
class Definition:
    """A virtual server in the configuration of a host.

    Attributes:
        host: the host's name.
        place: the host's directory.
        sources: its disks' files: the path, and where this process finds it.
    """

    host: str
    place: Path
    name: str
    uuid: str
    sources: tuple[tuple[str, Path], ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What there was at one time.

    Attributes:
        time: when, by `now`.
        answering: whether each host's libvirtd runs, so that what it notes is of now.
    """

    time: float
    emulators: tuple[Emulator, ...]
    definitions: tuple[Definition, ...]
    answering: bool


@dataclass(slots=True)
class Looker:
    """Looks, and keeps what need not be read again."""

    _others: dict[int, float] = field(default_factory=dict)  # no emulators; since when known
    _xml: dict[Path, tuple[tuple[int, int], etree._Element]] = field(default_factory=dict)

    def look(self) -> Look:
        """What there is now."""
        hosts = tuple(HOSTS)
        time = now()
        spaces = {_namespace(host.pid_of("namespace")): host for host in hosts}
        emulators = tuple(self._emulators(spaces))
        definitions = tuple(each for host in hosts for each in self._definitions(host))
        answering = all(_runs(host.pid_of("libvirtd")) for host in hosts)
        return Look(time, emulators, definitions, answering)

    def _emulators(self, spaces: dict[str, Started]) -> Iterator[Emulator]:
        pids = {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208 - quick
        self._others = {pid: since for pid, since in self._others.items() if pid in pids}
        for pid in pids:
            since = self._others.setdefault(pid, now())
            if now() - since > YOUNG_SECONDS:
                continue
            with suppress(OSError, ValueError, IndexError):  # it has ended
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                if "qemu-system" not in words[0] or "-uuid" not in words:
                    continue
                self._others[pid] = now()  # it stays young
                if (host := spaces.get(_namespace(pid))) is not None:
                    yield self._emulator(host, pid, words)

    def _emulator(self, host: Started, pid: int, words: list[str]) -> Emulator:
        guest = words[words.index("-name") + 1].removeprefix("guest=").partition(",")[0]
        uuid = words[words.index("-uuid") + 1]
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        root = self._read(host.directory / "run" / "qemu" / f"{guest}.xml")
        state, shared = "", frozenset[Inode]()
        if root is not None:
            state = root.get("state", "")
            if root.get("reason", "") in _SETTLING:
                state = "settling"
            view = _view(host)
            found = root.iterfind("domain/devices/disk[shareable]/source")
            shared = frozenset(
                each for source in found if (each := _inode_of(_place(view, source)[1])) is not None
            )
        started = int(fields[19]) / _TICK
        return Emulator(
            *(host.NAME, host.directory, pid, started, guest, uuid, state),
            writes=frozenset(_writes(pid)),
            shared=shared,
        )

    def _definitions(self, host: Started) -> Iterator[Definition]:
        view = _view(host)
        for path in (host.directory / "etc" / "qemu").glob("*.xml"):
            if (root := self._read(path)) is not None:
                found = root.iterfind("devices/disk[@type='file']/source")
                places = (_place(view, source) for source in found)
                uuid = root.findtext("uuid") or ""
                sources = tuple(each for each in places if each[0])
                yield Definition(host.NAME, host.directory, path.stem, uuid, sources)

    def _read(self, path: Path) -> etree._Element | None:
        try:
            found = path.stat()
            stamp = (found.st_ino, found.st_mtime_ns)
            if path not in self._xml or self._xml[path][0] != stamp:
                self._xml[path] = (stamp, etree.fromstring(path.read_bytes()))
        except (OSError, etree.XMLSyntaxError):
            self._xml.pop(path, None)
            return None
        return self._xml[path][1]


def _view(host: Started) -> Path:
    """Where this process finds the host's own root directory."""
    return Path(f"/proc/{host.pid_of('namespace')}/root")


def _place(view: Path, source: etree._Element) -> tuple[str, Path]:
    path = source.get("file") or source.get("dev") or ""
    return path, view / path.lstrip("/")


def _writes(pid: int) -> Iterator[Inode]:
    with os.scandir(f"/proc/{pid}/fd") as entries:
        numbers = [entry.name for entry in entries]
    for number in numbers:
        with suppress(OSError, ValueError, StopIteration):  # it was closed
            found = os.stat(f"/proc/{pid}/fd/{number}")  # noqa: PTH116 - quick
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)):
                continue
            lines = Path(f"/proc/{pid}/fdinfo/{number}").read_text().splitlines()
            flags = next(line for line in lines if line.startswith("flags:")).split()[1]
            if int(flags, 8) & os.O_ACCMODE and found.st_nlink | stat.S_ISBLK(found.st_mode):
                yield _inode(found)


def _inode(found: os.stat_result) -> Inode:
    if not stat.S_ISBLK(found.st_mode):
        return ("file", found.st_dev, found.st_ino)
    if os.major(found.st_rdev) == _LOOP:
        name = f"loop{os.minor(found.st_rdev)}"
        with suppress(OSError):
            behind = Path(f"/sys/block/{name}/loop/backing_file").read_text().strip()
            return _inode(Path(behind).stat())
    return ("device", os.major(found.st_rdev), os.minor(found.st_rdev))


def _inode_of(path: Path) -> Inode | None:
    try:
        return _inode(path.stat())
    except OSError:
        return None


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")  # noqa: PTH115 - it is no path
    except OSError:
        return ""


def _runs(pid: int) -> bool:
    """Whether a process is there and not stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "TtZX"
    except OSError:
        return False
