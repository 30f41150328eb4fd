"""Fetching a remote git repository into the one on this host that is read."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reconvirt.controller.config.source import GitSettings
from reconvirt.controller.git import Git, GitFailed
from reconvirt.controller.git_tree import FETCHED, read_commit, ref_of


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

    The reference that is read changes only once everything of the commit is here, in one step;
    whatever the remote did to its history, its newest commit is taken. A fetch that fails or is
    killed leaves what was there.

    Raises:
        GitFailed: git failed, or took too long.
    """
    remote = settings.remote
    if remote is None:
        raise GitFailed("source.git.remote is not stated; there is nothing to fetch from")
    git = Git(settings)
    settings.repository.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _locked(settings.repository):
        if not (settings.repository / "HEAD").exists():
            if (settings.repository / ".git").exists():
                raise GitFailed(f"{settings.repository} is a work tree; a bare one is needed")
            git("init", "--quiet", "--bare", "--template=", ".")
        before = ""
        with suppress(GitFailed):
            before = read_commit(git)
        ours = ref_of(settings)
        theirs = f"refs/{ours.removeprefix(FETCHED)}"
        depth = [f"--depth={settings.depth}"] if settings.depth else []
        git(
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--force", "--atomic"),
            *("--no-recurse-submodules", "--no-auto-maintenance", "--upload-pack=git-upload-pack"),
            *(*depth, "--end-of-options", remote, f"+{theirs}:{ours}"),
            remote=True,
        )
        git("gc", "--auto", "--quiet")
        return Synced(before, read_commit(git))


@contextmanager
def _locked(repository: Path) -> Iterator[None]:
    """One fetch at a time."""
    number = os.open(repository / "reconvirt.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
