"""The manifests of one commit of a git repository, as files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from reconvirt.controller.config.source import GitSettings
from reconvirt.controller.source.git import Git, GitFailed
from reconvirt.controller.source.tree import is_manifest, who_else_writes
from reconvirt.manifest.document import MOST_BYTES
from reconvirt.manifest.model import SourceFile
from reconvirt.manifest.problem import shown_path

FETCHED = "refs/reconvirt/"
"""Where ``reconvirt sync`` keeps what it has fetched, out of the way of branches."""

_SUBMODULE, _LINK = b"commit", b"120000"
_TOO_LARGE = f"larger than {MOST_BYTES // 1024} KiB"
_LINK_WORDS = "it is a link to a directory, or leads nowhere, and is not followed"


def ref_of(settings: GitSettings) -> str:
    """The full name of the reference whose commit counts."""
    if settings.branch is None and settings.tag is None:
        return "HEAD"
    name = f"heads/{settings.branch}" if settings.branch else f"tags/{settings.tag}"
    return f"{FETCHED if settings.remote else 'refs/'}{name}"


def folder_of(settings: GitSettings, commit: str) -> str:
    """What git calls the directory of the manifests in a commit; ``./desired`` it would not know.

    Args:
        settings: name the directory.
        commit: in which it is.
    """
    folder = PurePosixPath(settings.path)
    return f"{commit}:{'' if folder == PurePosixPath() else folder}"


def read_commit(git: Git) -> str:
    """The commit that counts now, as 40 (or 64) hexadecimal digits.

    Raises:
        GitFailed: there is no such repository, or no commit.
    """
    ref = ref_of(git.settings)
    try:
        found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except GitFailed as failed:
        if "rev-parse: 1" not in str(failed):
            raise
        fetch = "; 'reconvirt sync' fetches it" if git.settings.remote else ""
        raise GitFailed(f"there is no commit at {ref}{fetch}") from failed
    return found.decode().strip()


def commit_time(git: Git, commit: str) -> float:
    """When a commit was made, in seconds since the epoch.

    Raises:
        GitFailed: there is no such commit.
    """
    return float(git("show", "--no-patch", "--format=%ct", "--end-of-options", commit).strip())


def is_ancestor(git: Git, commit: str, descendant: str) -> bool | None:
    """Whether a commit is in the history of another one; None if it is not in the repository."""
    try:
        git("cat-file", "-e", f"{commit}^{{commit}}")
    except GitFailed:
        return None
    try:
        git("merge-base", "--is-ancestor", commit, descendant)
    except GitFailed as failed:
        return False if "merge-base: 1" in str(failed) else None
    return True


def check_writers(repository: Path) -> None:
    """See that only its owner can write to a repository.

    Raises:
        GitFailed: its group or others can.
    """
    for folder in (repository, repository / ".git"):
        for path in (
            folder,
            *(folder / name for name in ("HEAD", "objects", "packed-refs", "refs")),
        ):
            if (words := who_else_writes(path)) is not None:
                raise GitFailed(f"{path}: {words}")


def check_signature(git: Git, commit: str) -> None:
    """See that a commit is signed as the settings demand.

    Raises:
        GitFailed: it is not.
    """
    settings, trusted = git.settings, str(git.settings.allowed_signers)
    if settings.signatures == "none":
        return
    if settings.signatures == "ssh":
        demands = {"gpg.ssh.program": "ssh-keygen", "gpg.ssh.allowedSignersFile": trusted}
    else:
        demands = {"gpg.program": "gpg", "gpg.openpgp.program": "gpg"}
    try:
        git("verify-commit", "--", commit, settings=demands, gnupg_home=trusted)
    except GitFailed as failed:
        signed = b"\ngpgsig" in git("cat-file", "commit", commit)
        why = f"no trusted signature: {failed}" if signed else "it is not signed"
        raise GitFailed(why) from failed


def read_files(git: Git, commit: str) -> tuple[SourceFile, ...]:
    """All manifests of a commit below the directory of the settings, sorted.

    Hidden files and folders are left out. Submodules, and links to what is no file, are closed
    places. Symbolic links to files are followed within the commit.

    Raises:
        GitFailed: the commit has no such directory, or cannot be read.
    """
    folder = PurePosixPath(git.settings.path)
    inside = "" if folder == PurePosixPath() else f"{folder}/"
    try:
        listed = git("ls-tree", "-r", "-z", "--full-tree", folder_of(git.settings, commit))
    except GitFailed as failed:
        raise GitFailed(f"it has no directory {folder}: {failed}") from failed
    entries = dict(map(_entry, listed.split(b"\0")))
    paths = sorted(path for path, closed in entries.items() if path and not closed)
    good = [each for each in paths if "\n" not in each]
    root = git.settings.repository
    contents = _read_blobs(git, [f"{commit}:{inside}{each}" for each in good])
    files = [
        SourceFile(shown_path(root / folder / path), content, problem)
        for path, (content, problem) in zip(good, contents, strict=True)
    ]
    broken = "its name has a line break"
    files += [
        SourceFile(shown_path(root / folder / e), None, broken) for e in paths if e not in good
    ]
    closed = sorted(path for path, why in entries.items() if why and "\n" not in path)
    links = [each for each in closed if entries[each] == _LINK_WORDS]
    leads_on = _find_files(git, [f"{commit}:{inside}{each}" for each in links])
    files += [
        SourceFile(shown_path(root / folder / path), None, entries[path], closed=True)
        for path in closed
        if f"{commit}:{inside}{path}" not in leads_on
    ]
    return tuple(files)


def _entry(line: bytes) -> tuple[str, str]:
    """The path in a line of ``ls-tree``, and why it is a closed place; no path for the rest."""
    about, _, name = line.partition(b"\t")
    path = name.decode("utf-8", "surrogateescape")
    parts = path.split("/")
    if not path or any(part.startswith(".") for part in parts):
        return "", ""
    mode, kind, _ = about.split()
    if kind == _SUBMODULE:
        return path, "it is a submodule, and not read"
    if mode == _LINK and not is_manifest(parts[-1]):
        return path, _LINK_WORDS
    return path if is_manifest(parts[-1]) else "", ""


def _find_files(git: Git, links: list[str]) -> set[str]:
    """Those of the links that lead to files."""
    return {
        name
        for name, (_, problem) in zip(links, _read_blobs(git, links), strict=True)
        if problem in ("", _TOO_LARGE)
    }


def _read_blobs(git: Git, names: list[str]) -> list[tuple[bytes | None, str]]:
    """The contents, each with the problem if it has none."""
    if not names:
        return []

    def batch(kind: str, asked: list[str]) -> bytes:
        stdin = "".join(f"{name}\n" for name in asked).encode("utf-8", "surrogateescape")
        return git("cat-file", kind, "--follow-symlinks", stdin=stdin)

    problems: dict[str, str] = {}
    rest = batch("--batch-check", names)
    for name in names:
        # What is not found, and where a link leads, are told in lines of the same beginning.
        line, _, rest = rest.partition(b"\n")
        words = line.split()
        if line.endswith(b" missing") or words[0] in (b"dangling", b"loop", b"notdir", b"symlink"):
            problems[name] = "it is a link that leads nowhere, round in a circle or out of git"
            if not line.endswith(b" missing"):
                rest = rest[int(words[1]) + 1 :]
        elif words[1] != b"blob":
            problems[name] = "it is not a regular file"
        elif int(words[2]) > MOST_BYTES:
            problems[name] = _TOO_LARGE
    contents: dict[str, bytes] = {}
    sound = [name for name in names if name not in problems]
    rest = batch("--batch", sound) if sound else b""
    for name in sound:
        line, _, rest = rest.partition(b"\n")
        size = int(line.split()[2])
        contents[name], rest = rest[:size], rest[size + 1 :]
    return [(contents.get(name), problems.get(name, "")) for name in names]
