"""What a test has asked for: which virtual servers may end or vanish, which images may change.

The ledger is kept by listening to what the test's own process does: commands it runs, files it
writes and removes, signals it sends. What the program under test does is done by other processes,
and is not asked for by that alone.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from testbed.started import defined_names

# Of virsh: after these a guest may end, its definition go, or its image change.
VERBS = frozenset(
    """
    blockcommit blockcopy blockjob blockpull blockresize change-media create destroy detach-device
    detach-device-alias detach-disk domrename dump inject-nmi managedsave managedsave-edit
    managedsave-remove migrate qemu-agent-command qemu-monitor-command reboot reset restore save
    send-key set-lifecycle-action shutdown snapshot-create snapshot-create-as snapshot-delete
    snapshot-revert undefine update-device
    """.split()  # noqa: SIM905 - it reads better than forty pairs of quotation marks
)
# Of the program: a person has decided about the virtual servers that are named.
DECISIONS = frozenset({"apply", "approve", "migrate", "release", "import"})
# Of git: files change that no other event shows.
CHECKOUTS = frozenset({"checkout", "merge", "mv", "pull", "reset", "restore", "revert", "rm"})
LOOKS = frozenset({"info", "compare", "check", "map", "measure"})  # of qemu-img

EVERYTHING = "*"
FOREVER = float("inf")
WRITE_SECONDS = 2.0  # between the opening of a file and the last that is written to it
_NAME = re.compile(r"rv-test-\d+-[\w.-]*\w")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_MANIFESTS = (".yaml", ".yml")


def now() -> float:
    """Seconds since the machine was started, as the kernel counts for processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Ask:
    """Something the test has done.

    Attributes:
        subject: the name of a virtual server, a path, or everything.
        what: in words.
        time: when, by `now`.
        lasts: for how many seconds it may have its effect, on whatever comes.
    """

    subject: str
    what: str
    time: float
    lasts: float = 0


@dataclass(frozen=True, slots=True)
class Edit:
    """A manifest that was written or removed.

    Attributes:
        path: the file.
        time: when.
        before: what it said.
        known: the virtual servers that libvirt had at that time.
    """

    path: Path
    time: float
    before: Stated
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class Stated:
    """What a file of manifests says that matters here.

    Attributes:
        valid: whether it can be read, and says anything at all.
        names: the virtual servers.
        ending: those among them whose guests may end by what is stated from the start.
        others: whether there are manifests that other ones refer to, such as profiles.
    """

    valid: bool = False
    names: frozenset[str] = frozenset()
    ending: frozenset[str] = frozenset()
    others: bool = False


@dataclass(slots=True)
class Ledger:
    """All that was asked for since it was cleared.

    Attributes:
        open: whether it is kept: outside tests with real guests nobody asks.
        pids: the QEMU processes, and the names of their virtual servers.
    """

    open: bool = False
    pids: dict[int, str] = field(default_factory=dict)
    _asks: list[Ask] = field(default_factory=list)
    _edits: list[Edit] = field(default_factory=list)
    _running: dict[str, tuple[float, list[str]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        """Forget everything: another test begins."""
        with self._lock:
            self._asks.clear()
            self._edits.clear()
            self._running.clear()

    def ask(self, subject: str, what: str, lasts: float = 0) -> None:
        """Note that the test has done something by which this virtual server or file may change."""
        with self._lock:
            self._asks.append(Ask(subject, what, now(), lasts))

    def asked(self, subjects: tuple[str, ...], since: float, until: float) -> str:
        """What the test has asked for one of these, in words; "" if nothing.

        Args:
            subjects: names and paths that stand for one thing.
            since: what was asked before that was for another one, unless its effect lasts.
            until: what is asked later is no reason.
        """
        with self._lock:
            asks, edits = tuple(self._asks), tuple(self._edits)
        for ask in (*asks, *(each for edit in edits for each in _asks_of(edit))):
            meant = ask.subject == EVERYTHING or any(_covers(ask, each) for each in subjects)
            in_force = ask.time >= since or until <= ask.time + ask.lasts
            if meant and ask.time <= until and in_force:
                return ask.what
        return ""

    def started(self, command: str, paths: list[str]) -> None:
        """Note that this process has started a command that may write to these files."""
        with self._lock:
            self._running[command] = (now(), paths)

    def renew(self) -> None:
        """Ask again for what the commands do that still run."""
        if not self._running:
            return
        running = set(_children())
        with self._lock:
            for command, (since, paths) in tuple(self._running.items()):
                if command in running:
                    what = command.replace("\0", " ")
                    self._asks += (Ask(path, what, now(), WRITE_SECONDS) for path in paths)
                elif now() - since > WRITE_SECONDS:
                    self._running.pop(command)

    def edited(self, path: Path) -> None:
        """Note that a manifest, or a directory of them, is about to change."""
        files = (each for end in _MANIFESTS for each in path.rglob(f"*{end}"))
        known = defined_names()
        for file in tuple(files) if path.is_dir() else (path,):
            edit = Edit(file, now(), read_stated(file), known)
            with self._lock:
                self._edits.append(edit)


def _children() -> Iterator[str]:
    """The command lines of the processes that this one has started."""
    for file in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            for pid in file.read_text().split():
                yield Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0")


def _covers(ask: Ask, subject: str) -> bool:
    return ask.subject == subject or (
        ask.subject[0] == "/" and subject.startswith(f"{ask.subject}/")
    )


def _asks_of(edit: Edit) -> Iterator[Ask]:
    # What has just been written is read when somebody wants to know: an editor may not be through.
    after = read_stated(edit.path)
    if edit.path.exists() and not after.valid:
        return  # a broken manifest changes nothing
    what = f"the manifest {edit.path} was changed"
    for name in edit.before.names | after.names:
        if name in edit.known or name in after.ending:
            yield Ask(name, what, edit.time, FOREVER)
    if edit.before.others or after.others:
        yield from (Ask(name, what, edit.time, FOREVER) for name in edit.known)


def read_stated(path: Path) -> Stated:
    """What a file of manifests says."""
    try:
        documents = [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]
        kinds = {each["kind"] for each in documents}
        servers = [each for each in documents if each["kind"] == "VirtualServer"]
        names = frozenset(str(each["metadata"]["name"]) for each in servers)
        ending = frozenset(str(each["metadata"]["name"]) for each in servers if _may_end(each))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError):
        return Stated()
    return Stated(bool(documents), names, ending, others=bool(kinds - {"VirtualServer", "Host"}))


def _may_end(document: dict[str, Any]) -> bool:
    spec = document.get("spec") or {}
    return bool(spec.get("policy")) or spec.get("state", "running") != "running"


LEDGER = Ledger()
_listening = threading.local()


def listen() -> None:
    """Keep the ledger from now on, whenever it is open."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    handler = _HANDLERS.get(event)
    if handler is None or not LEDGER.open or getattr(_listening, "busy", False):
        return
    _listening.busy = True  # what is read here is no event
    try:
        with suppress(OSError, UnicodeError):
            handler(*arguments)
    finally:
        _listening.busy = False


def _opened(path: Any, _mode: Any, flags: Any) -> None:
    if isinstance(flags, int) and flags & _WRITING and not isinstance(path, int):
        _changed(path)


def _removed(path: Any, directory: int = -1) -> None:
    if directory in (-1, None):
        _changed(path)


def _renamed(source: Any, target: Any, *_: Any) -> None:
    for path in (source, target):
        _changed(path)


def _changed(path: Any) -> None:
    if path is None or isinstance(path, int):
        return
    file = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - links are kept as they are
    if file.suffix in _MANIFESTS or file.is_dir():
        LEDGER.edited(file)
    if file.suffix not in _MANIFESTS:
        LEDGER.ask(str(file), f"{file} was written or removed", WRITE_SECONDS)


def _signalled(pid: int, number: int) -> None:
    if number and (name := LEDGER.pids.get(pid)) is not None:
        LEDGER.ask(name, f"process {pid} was signalled")


def _ran(_program: Any, command: Any, *_: Any) -> None:
    words = [command] if isinstance(command, (str, bytes, os.PathLike)) else list(command)
    texts = [os.fsdecode(each) for each in words]
    what = " ".join(texts)[:200]
    meant = dict(_meant(texts))
    for subject, lasts in meant.items():
        LEDGER.ask(subject, what, lasts)
    paths = [subject for subject in meant if subject.startswith("/")]
    if paths:
        LEDGER.started("\0".join(texts), paths)


def _meant(texts: list[str]) -> Iterator[tuple[str, float]]:
    """The names and paths that a command may change, and for how long it may."""
    programs = {Path(each).name for each in texts}
    if "virsh" in programs and VERBS.isdisjoint(texts):
        return
    if "qemu-img" in programs and not LOOKS.isdisjoint(texts):
        return
    if "reconvirt" in programs:
        # Its other commands converge to what the manifests say, which is asked for there.
        if not DECISIONS.isdisjoint(texts):
            yield from ((each, FOREVER) for each in texts if _NAME.fullmatch(each))
        return
    if "git" in programs and not CHECKOUTS.isdisjoint(texts):
        yield EVERYTHING, FOREVER
    for word in set(re.split(r"[\s'\"=;]+", " ".join(texts))):
        if word.startswith("/"):
            yield os.path.normpath(word), WRITE_SECONDS
        elif word.isdecimal() and int(word) in LEDGER.pids:
            yield LEDGER.pids[int(word)], 0
        elif "-" in word and not word.startswith("-"):  # a name, or a uuid
            yield word, 0


_HANDLERS: dict[str, Callable[..., None]] = {
    "open": _opened,
    "os.kill": _signalled,
    "os.remove": _removed,
    "os.rename": _renamed,
    "os.truncate": _removed,
    "shutil.rmtree": _removed,
    "subprocess.Popen": _ran,
}
