"""Sees that no law is broken while a test runs, whatever the test itself looks at.

A thread looks at the QEMU processes, the definitions and the images of the started hosts several
times a second. What breaks a law is kept until the test is over, which then fails:

- one virtual server that runs on two hosts. Arriving, paused and departing copies do not run, and
  what libvirt has noted counts only while every libvirtd answers;
- a file or block device that two virtual servers have open for writing, unless both disks are
  shareable;
- a guest that has ended, a definition that is gone or an image that has changed although the test
  did not ask for it: see the module ledger. A guest that has crashed ended by itself.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

from testbed.ledger import LEDGER, Ledger, now
from testbed.looks import Definition, Emulator, Inode, Look, Looker
from testbed.started import HOSTS

EVERY_SECONDS = 0.3
# How long a thing must be so, before it counts: the hand-over of a migration takes some looks, and
# libvirt writes down what has ended after it has ended.
CERTAIN_SECONDS = 2.0
END_SECONDS = 10.0


class Law(StrEnum):
    """What can be broken."""

    COPIES = "it runs on two hosts"
    WRITERS = "two virtual servers have it open for writing"
    ENDED = "its guest has ended"
    GONE = "its definition is gone"
    IMAGE = "its image has changed"


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that was broken.

    Attributes:
        law: which.
        names: the virtual servers.
        text: what was seen.
    """

    law: Law
    names: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{', '.join(self.names)}: {self.law}: {self.text}"


@dataclass(frozen=True, slots=True)
class Expected:
    """A law that a test breaks on purpose, and why."""

    law: Law
    name: str
    because: str


_LOOKER = Looker()  # what it has found out about processes goes from test to test

Key = tuple[Law, object]
Content = tuple[int, ...]


@dataclass(slots=True)
class _Memory:
    """What was seen before.

    Attributes:
        lived: the guests' processes that have run, as they were seen last.
        defined: the definitions by uuid, and since when.
        images: of virtual servers that are off: what their images were, and since when.
        suspicions: what is not certain yet: since when, and what it would be.
    """

    lived: dict[int, Emulator] = field(default_factory=dict)
    defined: dict[str, tuple[Definition, float]] = field(default_factory=dict)
    images: dict[Path, tuple[Content, float]] = field(default_factory=dict)
    suspicions: dict[Key, tuple[float, Violation]] = field(default_factory=dict)


class Rules:
    """Judges one look after another."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._memory = _Memory()
        self._reported: set[Key] = set()

    @property
    def undecided(self) -> bool:
        """Whether something is not certain yet."""
        return bool(self._memory.suspicions)

    def judge(self, look: Look) -> list[Violation]:
        """What has become certain by this look."""
        found = {
            key: violation
            for rule in (self._copies, self._writers, self._ended, self._gone)
            for key, violation in rule(look)
            if key not in self._reported
        }
        held = self._memory.suspicions
        self._memory.suspicions = {
            key: (self._first(key, held, look), violation) for key, violation in found.items()
        }
        certain = [
            (key, violation)
            for key, (since, violation) in self._memory.suspicions.items()
            if look.time - since >= CERTAIN_SECONDS
        ]
        for key, _ in certain:
            self._reported.add(key)
            self._memory.suspicions.pop(key)
        return [violation for _, violation in certain] + list(self._images(look))

    @staticmethod
    def _first(key: Key, held: dict[Key, tuple[float, Violation]], look: Look) -> float:
        # While a libvirt hangs, what it has noted may be old: such looks do not count.
        if key not in held or (key[0] is Law.COPIES and not look.answering):
            return look.time
        return held[key][0]

    def _copies(self, look: Look) -> Iterator[tuple[Key, Violation]]:
        running = defaultdict(list)
        for each in look.emulators:
            if each.state == "running":
                running[each.uuid].append(each)
        for uuid, copies in running.items():
            if len(copies) > 1:
                where = " and ".join(f"on {each.host} as process {each.pid}" for each in copies)
                yield (
                    (Law.COPIES, uuid),
                    Violation(Law.COPIES, (copies[0].name,), f"uuid {uuid} {where}"),
                )

    def _writers(self, look: Look) -> Iterator[tuple[Key, Violation]]:
        writers = defaultdict[Inode, list[Emulator]](list)
        for each in look.emulators:
            for inode in each.writes:
                writers[inode].append(each)
        for inode, open_in in writers.items():
            if len({each.uuid for each in open_in}) > 1 and not all(
                inode in each.shared for each in open_in
            ):
                where = " and ".join(
                    f"process {each.pid} of {each.name} on {each.host}" for each in open_in
                )
                names = tuple(sorted({each.name for each in open_in}))
                text = f"{' '.join(map(str, inode))} by {where}"
                yield (Law.WRITERS, (inode, names)), Violation(Law.WRITERS, names, text)

    def _ended(self, look: Look) -> Iterator[tuple[Key, Violation]]:
        here = {each.pid: each for each in look.emulators}
        known = self._memory.lived
        for pid, emulator in here.items():
            # Arriving or restored ones are none yet; whoever was once goes on being one.
            if pid in known or emulator.state in ("running", "paused", "crashed"):
                known[pid] = emulator
        for pid in known.keys() - here.keys():
            emulator, key = known[pid], (Law.ENDED, pid)
            since = self._since(key, look)
            moved = any(
                each.uuid == emulator.uuid and each.place != emulator.place
                for each in look.emulators
            )
            reason = _last_words(emulator)
            if (
                moved
                or reason == "crashed"  # by itself
                or self._is_over(key, emulator.place)
                or self._asked(emulator.name, emulator.uuid, since=emulator.started, until=since)
            ):
                known.pop(pid)
                continue
            said = f"; libvirt's log says: {reason}" if reason else ""
            text = f"process {pid} on {emulator.host}{said}; the test did not ask for it"
            yield key, Violation(Law.ENDED, (emulator.name,), text)

    def _gone(self, look: Look) -> Iterator[tuple[Key, Violation]]:
        known = self._memory.defined
        here = {each.uuid: each for each in look.definitions}
        for uuid, definition in here.items():
            known[uuid] = (definition, known[uuid][1] if uuid in known else look.time)
        for uuid in known.keys() - here.keys():
            (definition, first), key = known[uuid], (Law.GONE, uuid)
            if self._is_over(key, definition.place) or self._asked(
                definition.name,
                uuid,
                since=first - EVERY_SECONDS,
                until=self._since(key, look),
            ):
                known.pop(uuid)
                continue
            text = f"no host has {uuid} any more; the test did not ask for it"
            yield key, Violation(Law.GONE, (definition.name,), text)

    def _images(self, look: Look) -> Iterator[Violation]:
        on = {each.uuid for each in look.emulators}
        used = {inode[1:] for each in look.emulators for inode in each.writes}
        known, images = self._memory.images, dict[Path, tuple[Content, float]]()
        for definition in look.definitions:
            for path, file in definition.sources if definition.uuid not in on else ():
                content = _content(file)
                if content[:2] in used:  # by another one, whose business it is
                    continue
                was, first = known.get(file, (content, look.time))
                images[file] = (content, first if was == content else look.time)
                if was in ((), content) or self._asked(
                    *(definition.name, definition.uuid, path, str(Path(path).resolve())),
                    since=first,
                    until=look.time,
                ):
                    continue
                if not content:
                    change = "was removed"
                elif was[:2] != content[:2]:
                    change = "is another file now"
                else:
                    change = "was written to while it is shut off"
                text = f"{path} on {definition.host} {change}; the test did not ask for it"
                yield Violation(Law.IMAGE, (definition.name,), text)
        self._memory.images = images

    def _since(self, key: Key, look: Look) -> float:
        held = self._memory.suspicions.get(key)
        return held[0] if held else look.time

    def _is_over(self, key: Key, place: Path) -> bool:
        """Whether it is reported, or the whole host is gone."""
        return key in self._reported or all(host.directory != place for host in HOSTS)

    def _asked(self, *subjects: str, since: float, until: float) -> str:
        return self._ledger.asked(subjects, since, until)


class Observer:
    """The thread, and what it has seen during one test. A context manager.

    Attributes:
        looks: how often it has looked.
    """

    def __init__(self) -> None:
        self._rules = Rules(LEDGER)
        self._violations: list[Violation] = []
        self._expected: list[Expected] = []
        self.looks = 0
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="observer", daemon=True)

    def __enter__(self) -> Self:
        LEDGER.clear()
        LEDGER.open = True
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        LEDGER.open = False
        self._stop.set()
        self._thread.join()

    def expect(self, law: Law, name: str, *, because: str) -> None:
        """Have this test break a law on purpose, of one virtual server, for this reason."""
        self._expected.append(Expected(law, name, because))

    def seen(self, law: Law, name: str) -> list[str]:
        """What was seen of this law and virtual server, expected or not."""
        return [str(each) for each in self._violations if each.law is law and name in each.names]

    def unexpected(self) -> list[str]:
        """End the thread, once nothing is undecided; what was seen that the test did not expect."""
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        expected = {(each.law, each.name) for each in self._expected}
        return [
            str(each)
            for each in self._violations
            if not any((each.law, name) in expected for name in each.names)
        ]

    def _work(self) -> None:
        try:
            while not self._stop.wait(EVERY_SECONDS):
                self._look()
            self._look()
            end = now() + END_SECONDS
            while self._rules.undecided and now() < end:
                time.sleep(EVERY_SECONDS)
                self._look()
        except BaseException as error:  # noqa: BLE001 - it is raised where the test ends
            self._failure = error

    def _look(self) -> None:
        LEDGER.renew()
        look = _LOOKER.look()
        LEDGER.pids = {each.pid: each.name for each in look.emulators}
        self._violations += self._rules.judge(look)
        self.looks += 1


def _last_words(emulator: Emulator) -> str:
    """Why a guest has ended, as libvirt has logged; "" if it has not."""
    log = emulator.place / "log" / "qemu" / f"{emulator.name}.log"
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.findall(r"shutting down, reason=(\w+)|starting up libvirt version", text)
    return str(found[-1]) if found else ""


def _content(file: Path) -> Content:
    try:
        found = file.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
