"""Reading the files of manifests from a directory, whatever else may be in it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from reconvirt.manifest.document import MOST_BYTES
from reconvirt.manifest.model import SourceFile
from reconvirt.manifest.problem import shown_path

_SUFFIXES = (".yaml", ".yml")
_TRIES = 5

Signature: TypeAlias = tuple[tuple[str, int, int, int, int], ...]
"""Path, inode, size, mtime and ctime of each file: another signature, another content."""


_LINK = "it is a link to a directory, or leads nowhere, and is not followed"
_FOLDER = "it has a manifest's name, and is a directory"


class Unstable(Exception):
    """The directory changed each time while it was being read."""


def read_paths(paths: Iterable[Path], *, strict: bool = False) -> tuple[SourceFile, ...]:
    """The files of the paths: each a file, or a directory with all manifests below it.

    Args:
        paths: files and directories.
        strict: whether files are refused that others than their owner can write to.
    """
    files: dict[str, SourceFile] = {}
    for path in paths:
        if path.is_dir():
            files |= {each.path: each for each in read_tree(path, strict=strict)}
        else:
            files[shown_path(path)] = _read_file(path, path.parent, strict=strict)
    return tuple(files.values())


def newest_change(*paths: Path) -> float | None:
    """When a manifest or a directory of the paths was changed last, in seconds since the epoch.

    Never later than now: a date in the future would make everything after it look old.

    Returns:
        The time with milliseconds; None if nothing can be seen.
    """
    times: list[float] = []
    for path in paths:
        folders = (Path(folder) for folder, *_ in _list_visible(path, lambda _error: None))
        for place in (path, *folders, *(each.path for each in _walk(path))):
            with contextlib.suppress(OSError, RuntimeError):
                times.append(place.stat().st_mtime)
    return round(min(max(times), time.time()), 3) if times else None


def read_stable_tree(
    root: Path, *, strict: bool = False
) -> tuple[tuple[SourceFile, ...], float | None]:
    """All files of a directory as they were together at one moment, and its newest change.

    Raises:
        Unstable: the directory did not hold still.
    """
    for _ in range(_TRIES):
        before = sign_tree(root)
        files, changed = read_tree(root, strict=strict), newest_change(root)
        if sign_tree(root) == before:
            return files, changed
    raise Unstable(f"{shown_path(root)} changed while it was being read, {_TRIES} times in a row")


def read_tree(root: Path, *, strict: bool = False) -> tuple[SourceFile, ...]:
    """All manifests below a directory, sorted; hidden files and folders are left out.

    What cannot be read, the directory itself included, is a file with a problem, and a link to a
    directory is a closed place: the manifests in it are not gone.

    Args:
        root: the directory.
        strict: whether files are refused that others than their owner can write to, or replace.
    """
    files: list[SourceFile] = []
    for found in _walk(root):
        path = found.path
        problem = found.problem or (_replaceable(path, root) if strict else "")
        if problem:
            files.append(SourceFile(shown_path(path), None, problem, closed=found.closed))
        else:
            files.append(_read_file(path, root, strict=strict))
    return tuple(files)


def who_else_writes(path: Path) -> str | None:
    """Why others than its owner can write to a file or directory; None if they cannot."""
    try:
        return _writers(path.stat())
    except OSError:
        return None  # it is not there, or reading it will tell


def sign_tree(root: Path) -> Signature:
    """What tells one state of a directory from another without reading its files."""
    signature = []
    for each in _walk(root):
        path = each.path
        try:
            found = path.lstat() if each.closed else path.stat()
        except (OSError, RuntimeError) as error:
            signature.append((str(path), -1, getattr(error, "errno", 0) or 0, 0, 0))
            continue
        times = (found.st_mtime_ns, found.st_ctime_ns)
        signature.append((str(path), found.st_ino, found.st_size, *times))
    return tuple(signature)


def is_manifest(name: str) -> bool:
    """Whether a file of this name is read: not hidden, and with the suffix of YAML."""
    return name.endswith(_SUFFIXES) and not name.startswith(".")


def _list_visible(
    root: Path, on_error: Callable[[OSError], None]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each directory that is not hidden, with what is in it.

    Without recursion: a directory may have more levels than Python can go down. Symbolic links to
    directories are not followed: they could lead round in circles.
    """
    waiting = [str(root)]
    while waiting:
        folder = waiting.pop()
        folders: list[str] = []
        names: list[str] = []
        below: list[str] = []
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    if not _is_folder(entry):
                        names.append(entry.name)
                    elif not entry.name.startswith("."):
                        folders.append(entry.name)
                        below += [] if entry.is_symlink() else [entry.path]
        except OSError as error:
            error.filename = folder
            on_error(error)
            continue
        yield folder, sorted(folders), names
        waiting += sorted(below, reverse=True)


@dataclass(frozen=True, slots=True)
class _Found:
    """A manifest; or, with a problem, what cannot be listed; or a closed place."""

    path: Path
    problem: str = ""
    closed: bool = False


def _walk(root: Path) -> Iterator[_Found]:
    """The manifests below a directory, and what else may have manifests in it."""
    problems: list[_Found] = []

    def on_error(error: OSError) -> None:
        problems.append(_Found(Path(error.filename), _words(error)))

    for folder, folders, names in _list_visible(root, on_error):
        for name in sorted(names):
            path = Path(folder, name)
            if is_manifest(name):
                yield _Found(path)
            elif not name.startswith(".") and path.is_symlink() and not path.is_file():
                yield _Found(path, _LINK, closed=True)
        for name in folders:
            path = Path(folder, name)
            if path.is_symlink():
                yield _Found(path, _LINK, closed=True)
            elif is_manifest(name):
                yield _Found(path, _FOLDER, closed=True)
    yield from problems


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads round in a circle; reading it tells


_WRITABLE = {stat.S_IWGRP: "its group", stat.S_IWOTH: "everybody"}


def _writers(found: os.stat_result) -> str | None:
    who = [words for bit, words in _WRITABLE.items() if found.st_mode & bit]
    if not who:
        return None
    allow = "source.trust_writable"
    return f"{' and '.join(who)} can write to it (chmod go-w); {allow} = true allows that"


def _replaceable(path: Path, root: Path) -> str:
    """Why others can put another file in the place of one; "" if they cannot."""
    for folder in path.parents:
        if (words := who_else_writes(folder)) is not None:
            return f"{shown_path(folder)}: {words}"
        if folder == root:
            break
    return ""


def _read_file(path: Path, root: Path, *, strict: bool) -> SourceFile:
    """A regular file of at most the allowed size, inside ``root`` wherever its links lead."""
    try:
        if not path.resolve(strict=True).is_relative_to(root.resolve(strict=True)):
            problem = f"it is a link that leads out of {shown_path(root)}"
            return SourceFile(shown_path(path), None, problem)
        # Without O_NONBLOCK opening a named pipe would wait for somebody to write.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(number, "rb") as file:
            found = os.fstat(number)
            if not stat.S_ISREG(found.st_mode):
                return SourceFile(shown_path(path), None, "it is not a regular file")
            if strict and (words := _writers(found)) is not None:
                return SourceFile(shown_path(path), None, words)
            return SourceFile(shown_path(path), file.read(MOST_BYTES + 1))
    except (OSError, RuntimeError) as error:
        return SourceFile(shown_path(path), None, _words(error))


def _words(error: OSError | RuntimeError) -> str:
    if isinstance(error, OSError) and error.errno != errno.ELOOP:
        return f"it cannot be read: {error.strerror or error}"
    return "it cannot be read: its links lead round in a circle"
