"""A git repository as a source of snapshots.

What counts is a commit: files that are half written, edits that are not committed and a checkout
that was interrupted are never seen. A commit is taken over as a whole or not at all: if anything
in it is wrong, or it is not signed as it must be, the last good commit stays in force.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from reconvirt.controller.config.source import GitSettings
from reconvirt.controller.liveness import Beat
from reconvirt.controller.source.git import Git, GitFailed
from reconvirt.controller.source.git_tree import (
    check_signature,
    check_writers,
    commit_time,
    is_ancestor,
    read_commit,
    read_files,
    ref_of,
)
from reconvirt.manifest.load import Loader, assemble, revision_of
from reconvirt.manifest.model import Snapshot, differs
from reconvirt.manifest.problem import Position, Problem

_LOOK_SECONDS = 0.5
_NO_SNAPSHOT = Snapshot({}, (), "")


class GitSource:
    """Snapshots of the manifests of a git repository.

    The revision of a snapshot is ``COMMIT/DIGEST``: what git calls it, and SHA-256 over the files.

    Args:
        settings: which repository, and what of it.
        rescan: seconds between two looks at the repository that nothing has asked for.
        memory: a file that keeps the last good commit over a restart; None for none.
        keep: whether that file is written, too.
        strict: whether a repository that others can write to is refused, unless commits must be
            signed.
    """

    def __init__(
        self,
        settings: GitSettings,
        rescan: float = 10.0,
        memory: Path | None = None,
        *,
        keep: bool = False,
        strict: bool = False,
    ) -> None:
        self._git = Git(settings)
        self._rescan = rescan
        self._memory = memory
        self._keep = keep
        self._strict = strict and settings.signatures == "none"
        self._loader = Loader()
        self._good: Snapshot | None = None
        self._last: Snapshot | None = None
        self._attempted = ""
        self._hint = threading.Event()
        self.beat = Beat()

    def read(self) -> Snapshot:
        """The manifests of the commit that counts, or of the last good one."""
        commit = ""
        try:
            if self._strict:
                check_writers(self._git.settings.repository)
            commit = read_commit(self._git)
            if self._last is None or commit != self._attempted:
                self._last = self._take(commit)
                self._attempted = commit
        except GitFailed as failed:
            place = f"commit {commit[:12]}: " if commit else ""
            position = Position(str(self._git.settings.repository), 1, 1)
            self._last = self._refuse([Problem(position, "", f"{place}{failed}")])
            self._attempted = ""
        return self._last

    def includes(self, revision: str) -> bool | None:
        """Whether the commit in force is that of this revision or a later one; None: not known."""
        commit, last = revision.partition("/")[0], self._last
        now = last.revision.partition("/")[0] if last is not None else ""
        if not now or not commit.isalnum():
            return None
        return True if commit == now else is_ancestor(self._git, commit, now)

    def poke(self) -> None:
        """Have the repository looked at now."""
        self._hint.set()

    def watch(self, stop: threading.Event) -> Iterator[Snapshot]:
        """The snapshot now, and one each time that something has changed, until ``stop``.

        Set ``stop`` and :meth:`poke` to end it at once.
        """
        before: Snapshot | None = None
        while not stop.is_set():
            self._hint.clear()
            signature = self._sign()
            snapshot = self.read()
            if before is None or differs(before, snapshot):
                yield snapshot
            before = snapshot
            rescan_at = time.monotonic() + self._rescan
            while not self._hint.wait(_LOOK_SECONDS):
                self.beat()
                if time.monotonic() >= rescan_at or self._sign() != signature:
                    break

    def _take(self, commit: str) -> Snapshot:
        """The snapshot of a commit, if it is good.

        Raises:
            GitFailed: it cannot be read, or is not signed as it must be.
        """
        fresh = self._load(commit)
        if not fresh.problems:
            self._good = fresh
            self._remember(commit)
            return fresh
        if self._good is None:
            self._good = self._recall(commit)
        if self._good is None:
            # Nothing is known of the time before: what is good of it is better than nothing.
            return fresh
        return self._refuse(fresh.problems)

    def _load(self, commit: str) -> Snapshot:
        check_signature(self._git, commit)
        files = read_files(self._git, commit)
        revision, time_of = f"{commit}/{revision_of(files)}", commit_time(self._git, commit)
        return assemble(self._loader.load(files), revision, self._good, time_of)

    def _refuse(self, problems: list[Problem] | tuple[Problem, ...]) -> Snapshot:
        """The last good snapshot, with what is wrong with the one that would follow it."""
        if self._good is None:
            self._good = self._recall("")
        good = self._good or _NO_SNAPSHOT
        return replace(good, problems=tuple(problems), retained=frozenset(good.manifests))

    def _remember(self, commit: str) -> None:
        if self._memory is None or not self._keep:
            return
        aside = self._memory.with_name(f".{self._memory.name}.{os.getpid()}")
        try:
            aside.write_text(f"{commit}\n", encoding="ascii")
            aside.replace(self._memory)
        except OSError:
            return  # after a restart a bad commit is taken over as far as it is good

    def _recall(self, not_this: str) -> Snapshot | None:
        """The snapshot of the commit that was good before the restart, if it is still there."""
        if self._memory is None:
            return None
        try:
            commit = self._memory.read_text(encoding="ascii").strip()
            if not commit.isalnum() or commit == not_this:
                return None
            snapshot = self._load(commit)
        except (OSError, UnicodeDecodeError, GitFailed):
            return None
        return None if snapshot.problems else snapshot

    def _sign(self) -> tuple[object, ...]:
        """What tells one state of the references from another, without calling git."""
        repository = self._git.settings.repository
        folder = repository / ".git" if (repository / ".git").is_dir() else repository
        names = ["HEAD", "packed-refs", "reftable/tables.list", ref_of(self._git.settings)]
        try:
            head = (folder / "HEAD").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            head = ""
        if head.startswith("ref: ") and ".." not in head:
            names.append(head.removeprefix("ref: "))
        return (head, *(_sign_file(folder / name) for name in names))


def _sign_file(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_ino, found.st_size, found.st_mtime_ns
