"""Fetching a remote git repository into the one on this host that is read."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconvirt.controller.config.source import GitSettings
from reconvirt.controller.source.git import REMOTE, Git, GitFailed
from reconvirt.controller.source.git_tree import FETCHED, folder_of, read_commit, read_files, ref_of

_INCOMING = "refs/reconvirt-incoming"
_PARTIAL = f"remote.{REMOTE}.promisor"
"""Set by git in the repository when something was left out of a fetch."""
_WHOLE = "reconvirt.whole"
"""Set in the repository when nothing is to be left out any more."""

_NO_SINGLE_FILES = ("unadvertised object", "not our ref")


@dataclass(frozen=True, slots=True)
class Synced:
    """What a fetch has brought.

    Attributes:
        before: the commit that counted before; "" for none.
        after: the commit that counts now.
    """

    before: str
    after: str


def sync(settings: GitSettings) -> Synced:
    """Fetch the branch or tag of the remote; make the repository if it is not there.

    The reference that is read changes only once everything is here that is read, in one step;
    whatever the remote did to its history, its newest commit is taken. A fetch that fails or is
    killed leaves what was there.

    Raises:
        GitFailed: git failed, or took too long.
    """
    if settings.remote is None:
        raise GitFailed("source.git.remote is not stated; there is nothing to fetch from")
    git = Git(settings, online=True)
    settings.repository.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _locked(settings.repository):
        if not (settings.repository / "HEAD").exists():
            if (settings.repository / ".git").exists():
                raise GitFailed(f"{settings.repository} is a work tree; a bare one is needed")
            git("init", "--quiet", "--bare", "--template=", ".")
        before = ""
        with suppress(GitFailed):
            before = read_commit(git)
        whole = _is_true(git, _WHOLE)
        if settings.sparse and not whole:
            _fetch_sparsely(git)
        elif not whole and _is_true(git, _PARTIAL):
            _fetch_all(git)
        else:
            _fetch(git, "--no-filter")
        git("update-ref", ref_of(settings), _INCOMING)
        git("update-ref", "-d", _INCOMING)
        git("gc", "--auto", "--quiet")
        return Synced(before, read_commit(git))


def _fetch(git: Git, *options: str) -> None:
    """Fetch the branch or tag, which does not count yet."""
    theirs = f"refs/{ref_of(git.settings).removeprefix(FETCHED)}"
    depth = [f"--depth={git.settings.depth}"] if git.settings.depth else []
    _call_fetch(git, *depth, *options, REMOTE, f"+{theirs}:{_INCOMING}")


def _fetch_sparsely(git: Git) -> None:
    """Fetch it without the files, and then those files that are read.

    A server that knows no filter sends everything, and git takes that. One that knows it may still
    refuse to give single files (by ssh with git's older protocol, unless it was told to): then all
    is fetched, now and from then on.
    """
    _fetch(git, "--filter=blob:none")
    try:
        _bring_files(git)
    except GitFailed as failed:
        if not any(sign in str(failed) for sign in _NO_SINGLE_FILES):
            raise
        _fetch_all(git)


def _fetch_all(git: Git) -> None:
    """Fetch also what earlier fetches have left out, and leave nothing out any more."""
    _fetch(git, "--refetch", "--no-filter")
    git("config", _WHOLE, "true")


def _bring_files(git: Git) -> None:
    """Fetch the files below the directory of the manifests in one go, and what links lead to."""
    commit = git("rev-parse", f"{_INCOMING}^{{commit}}").decode().strip()
    listing = ("--objects", "--missing=print", "--no-object-names", "--end-of-options")
    try:
        listed = git("rev-list", *listing, folder_of(git.settings, commit))
    except GitFailed:
        return  # there is no such directory, which is told when it is read
    missing = [line[1:] for line in listed.splitlines() if line.startswith(b"?")]
    if missing:
        # Nothing to agree upon first: it is known what is missing.
        agree = {"fetch.negotiationAlgorithm": "noop"}
        wanted = b"\n".join(missing) + b"\n"
        _call_fetch(git, "--filter=blob:none", "--stdin", REMOTE, stdin=wanted, settings=agree)
    read_files(git, commit)


def _call_fetch(git: Git, *arguments: str, **more: Any) -> None:
    git(
        *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--force", "--atomic"),
        *("--no-recurse-submodules", "--no-auto-maintenance", "--upload-pack=git-upload-pack"),
        *arguments,
        **more,
    )


def _is_true(git: Git, name: str) -> bool:
    try:
        return git("config", "--type=bool", name).strip() == b"true"
    except GitFailed:
        return False  # it is not stated


@contextmanager
def _locked(repository: Path) -> Iterator[None]:
    """One fetch at a time."""
    number = os.open(repository / "reconvirt.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
