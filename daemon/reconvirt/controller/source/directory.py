"""The directory of manifests as a source of snapshots.

The kernel's events are hints that something has changed; what counts is what is read. A look at
the directory every few seconds finds what no event told: a directory replaced, a link turned, a
file system mounted over it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from reconvirt.controller.liveness import Beat
from reconvirt.controller.source.tree import Signature, Unstable, read_stable_tree, sign_tree
from reconvirt.manifest.load import Loader, assemble, failed, revision_of
from reconvirt.manifest.model import Snapshot, differs
from reconvirt.manifest.problem import shown_path

_LONGEST_DEBOUNCE = 2.0
_ROOT_CHECK = 1.0
_READING = {"opened", "closed_no_write"}

_log = structlog.get_logger(__name__)


class DirectorySource:
    """Snapshots of the manifests below a directory.

    Args:
        root: the directory; it may be a symbolic link that is turned to another one.
        debounce: seconds of quiet after a change before the directory is read.
        rescan: seconds between two looks at the directory that nothing has asked for.
        strict: whether files are refused that others than their owner can write to.
    """

    def __init__(
        self,
        root: Path,
        debounce: float = 0.2,
        rescan: float = 10.0,
        *,
        strict: bool = False,
    ) -> None:
        self._root = root
        self._debounce = debounce
        self._rescan = rescan
        self._strict = strict
        self._loader = Loader()
        self._snapshot: Snapshot | None = None
        self._hint = threading.Event()
        self.beat = Beat()
        self._poked = False

    def read(self) -> Snapshot:
        """The manifests now; what cannot be read leaves in force what was there before."""
        try:
            files, changed = read_stable_tree(self._root, strict=self._strict)
        except Unstable as error:
            broken = failed(shown_path(self._root), str(error))
            self._snapshot = assemble([broken], "", self._snapshot)
        else:
            results, revision = self._loader.load(files), revision_of(files)
            self._snapshot = assemble(results, revision, self._snapshot, changed)
        return self._snapshot

    def includes(self, revision: str) -> bool | None:
        """Whether the manifests in force are of this revision; of another one nothing is known."""
        return True if self._snapshot and self._snapshot.revision == revision else None

    def poke(self) -> None:
        """Have the directory looked at now."""
        self._poked = True
        self._hint.set()

    def watch(self, stop: threading.Event) -> Iterator[Snapshot]:
        """The snapshot now, and one each time that something has changed, until ``stop``.

        Set ``stop`` and :meth:`poke` to end it at once.
        """
        # The first is told in any case: whoever follows may have failed with it.
        told: Snapshot | None = None
        while not stop.is_set():
            with _Watch(self._root, self._hint) as watch:
                # Events from here on are not lost, whatever is being read.
                self._hint.clear()
                signature = sign_tree(self._root)
                snapshot = self.read()
                if told is None or differs(told, snapshot):
                    yield snapshot
                told = snapshot
                self._wait(stop, watch, signature)

    def _wait(self, stop: threading.Event, watch: _Watch, signature: Signature) -> None:
        """Return when there may be something new, and the directory is quiet."""
        rescan_at = time.monotonic() + self._rescan
        while not stop.is_set():
            self.beat()
            if self._hint.wait(_ROOT_CHECK):
                self._settle(stop)
                return
            if watch.root_changed():
                return
            if time.monotonic() >= rescan_at:
                if sign_tree(self._root) != signature:
                    return
                rescan_at = time.monotonic() + self._rescan

    def _settle(self, stop: threading.Event) -> None:
        """Wait until nothing has happened for a while."""
        end = time.monotonic() + _LONGEST_DEBOUNCE
        while not self._poked and not stop.is_set() and time.monotonic() < end:
            self._hint.clear()
            if not self._hint.wait(self._debounce):
                break
        self._poked = False


class _Watch(FileSystemEventHandler):
    """The kernel's events below a directory, as long as it is this very directory."""

    def __init__(self, root: Path, hint: threading.Event) -> None:
        self._root = root
        self._hint = hint
        self._identity = _identify(root)
        self._observer: Any = None

    def __enter__(self) -> Self:
        if self._identity is not None:
            observer = Observer()
            try:
                observer.schedule(self, self._identity[0], recursive=True)
                observer.start()
            except Exception as error:  # noqa: BLE001 - inotify's limits, names that it cannot take
                # The kernel's events only make it quicker: the looks at the directory go on.
                _log.warning("no events of the directory", error=str(error) or repr(error))
            else:
                self._observer = observer
        return self

    def __exit__(self, *_: object) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Take a hint, unless it is our own reading."""
        if event.event_type not in _READING:
            self._hint.set()

    def root_changed(self) -> bool:
        """Whether the path leads to another directory than it did, or to none."""
        return _identify(self._root) != self._identity


def _identify(root: Path) -> tuple[str, int, int] | None:
    try:
        real = root.resolve(strict=True)
        found = real.stat()
    except (OSError, RuntimeError):
        return None
    return str(real), found.st_dev, found.st_ino
