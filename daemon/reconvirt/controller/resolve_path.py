"""Where paths really lead on this host, and whether somebody could turn them elsewhere.

libvirt opens a path again, later. So it is not enough that a path leads to the right place now:
each directory and link on its way must be such that nobody but those who are trusted can change
it. Then what was found stays true.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from reconvirt.domain.admission import Resolved
from reconvirt.hypervisor.image_header import named_files

_MOST_LINKS = 40


@dataclass(frozen=True, slots=True)
class PathResolver:
    """Finds out where paths lead.

    Attributes:
        trust_writable: whether directories are taken that others can write to.
        trust_unreadable: whether images are taken that cannot be looked into.
        owners: the user ids whose directories and links are trusted.
    """

    trust_writable: bool = False
    trust_unreadable: bool = False
    owners: frozenset[int] = field(default_factory=lambda: trusted_ids(()))

    def __call__(self, path: str, form: str) -> Resolved:
        """Where a path leads; what is not there is resolved as far as it is.

        Args:
            path: an absolute path.
            form: the format of the image at it; "" if it is none, or is not to be looked into.
        """
        walked = _Walk(self)
        real = walked.follow(path)
        named = real
        if path.startswith("/dev/"):  # only there does it matter what a link is called
            clean = PurePosixPath(os.path.normpath(path))
            named = f"{_Walk(self).follow(str(clean.parent)).rstrip('/')}/{clean.name}"
        backing: tuple[str, ...] = ()
        if form and not walked.problem:
            try:
                backing = named_files(real, form)
            except PermissionError as error:
                if not self.trust_unreadable:
                    return Resolved(named, real, str(error))
            except ValueError as error:
                return Resolved(named, real, str(error))
        return Resolved(named, real, walked.problem, backing)


def trusted_ids(names: Iterable[str]) -> frozenset[int]:
    """The ids of root, of this process and of the named users, as far as there are such."""
    ids = {0, os.geteuid()}
    for name in names:
        try:
            ids.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    return frozenset(ids)


class _Walk:
    """One walk along a path, name by name."""

    def __init__(self, resolver: PathResolver) -> None:
        self._resolver = resolver
        self._links = 0
        self.problem = ""

    def follow(self, path: str) -> str:
        """The path without links and ``..``; notes the first thing that is wrong on the way."""
        rest = [part for part in path.split("/") if part not in ("", ".")][::-1]
        real, directory = "/", _look("/")
        while rest:
            name = rest.pop()
            if name == "..":
                real = os.path.dirname(real)  # noqa: PTH120 - of texts that were resolved
                directory = _look(real)
                continue
            here = os.path.join(real, name)  # noqa: PTH118 - many times a plan
            try:
                found = os.lstat(here)
            except FileNotFoundError:
                self._see_directory(real, directory, None)
                real, directory = here, None
                continue
            except OSError as error:
                self._note(f"{here} cannot be looked at: {error.strerror}")
                real, directory = here, None
                continue
            self._see_directory(real, directory, found)
            if not stat.S_ISLNK(found.st_mode):
                real, directory = here, found
                continue
            self._links += 1
            if self._links > _MOST_LINKS:
                self._note(f"{path}: its links lead round in a circle")
                return here
            try:
                target = os.readlink(here)  # noqa: PTH115 - a text
            except OSError:
                self._note(f"{here} changes while it is looked at")
                return here
            rest += [part for part in target.split("/") if part not in ("", ".")][::-1]
            if target.startswith("/"):
                real, directory = "/", _look("/")
        return real

    def _see_directory(
        self, directory: str, found: os.stat_result | None, entry: os.stat_result | None
    ) -> None:
        """Whether somebody who is not trusted could put another entry in the place of this one."""
        if found is None or self._resolver.trust_writable:
            return  # below something that is not there either, that was looked at
        owners = self._resolver.owners
        if found.st_uid not in owners:
            self._note(f"{directory} belongs to {_user(found.st_uid)}, who could turn it elsewhere")
        elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            # In a directory such as /tmp nobody can replace what is another's.
            kept = found.st_mode & stat.S_ISVTX and entry is not None and entry.st_uid in owners
            if not kept:
                self._note(f"others can write to {directory}, and could turn it elsewhere")

    def _note(self, problem: str) -> None:
        self.problem = self.problem or problem


def _look(directory: str) -> os.stat_result | None:
    try:
        return os.lstat(directory)
    except OSError:
        return None


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
