"""The section ``[source]``: where the manifests come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from reconvirt.controller.config.settings import setting

_REF = r"(?!-)(?!.*(\.\.|//|@\{|\\))[A-Za-z0-9._/+-]+(?<![./])"
_PROTOCOLS = ("ssh://", "https://", "file://")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSettings:
    """A git repository of manifests, read at a commit, never from its work tree's files."""

    repository: Path = setting(
        about="the repository on this host: a work tree, or a bare one that `reconvirt sync` fills"
    )
    remote: str | None = setting(
        None,
        about="where `reconvirt sync` fetches from: `ssh://`, `https://`, `file://` or "
        "`user@host:path`; without it the repository is used as it is",
        examples=("ssh://git@git.example.com/virtual-servers.git",),
    )
    branch: str | None = setting(
        None,
        about="the branch whose last commit counts; without branch and tag it is the "
        "repository's HEAD",
        pattern=_REF,
        examples=("main",),
    )
    tag: str | None = setting(
        None, about="the tag that counts, instead of a branch", pattern=_REF, examples=("v1",)
    )
    path: str = setting(
        ".",
        about="the directory of the manifests within the repository",
        pattern=r"(?!/)[^\\]+",
        examples=("desired", "hosts/kvm1"),
    )
    depth: int = setting(
        0, about="how many commits of history are fetched; 0 for all of it", least=0
    )
    timeout_seconds: float = setting(
        60.0,
        about="how long one call of git may take before it is ended",
        least=1,
        most=3600,
        unit="a number of seconds",
    )
    signatures: Literal["none", "ssh", "gpg"] = setting(
        "none", about="whether the commit must be signed, and how"
    )
    allowed_signers: Path | None = setting(
        None,
        about="ssh: the file of the signers that are trusted (ssh-keygen(1), ALLOWED SIGNERS); "
        "gpg: the GnuPG home directory whose keyring has exactly the keys that are trusted",
    )
    ssh_key: Path | None = setting(None, about="the private key for `ssh://`")
    known_hosts: Path | None = setting(
        None,
        about="the file of the host keys that are trusted for `ssh://`; then no others are",
    )
    ca: Path | None = setting(
        None,
        about="the certificates that the server's own is checked with for `https://`, instead of "
        "those that the machine trusts",
    )
    credentials_file: Path | None = setting(
        None,
        about="the file with names and passwords for `https://`, a line "
        "`https://NAME:PASSWORD@HOST` each (gitcredentials(7), git-credential-store(1))",
    )
    credential_helper: str | None = setting(
        None,
        about="the program that is asked for name and password instead (gitcredentials(7))",
        pattern=r"/\S.*",
        examples=("/usr/local/bin/git-token",),
    )
    sparse: bool = setting(
        True,
        about="whether only the files below `path` are fetched, where the server allows that",
    )

    def objections(self) -> Iterator[tuple[str, str]]:
        """What does not fit together."""
        if self.branch and self.tag:
            yield "tag", "a branch is stated as well; one of them counts"
        if self.remote and not (self.branch or self.tag):
            yield "remote", "it needs branch or tag, so that it is sure what is fetched"
        if self.remote and not (_is_scp(self.remote) or self.remote.startswith(_PROTOCOLS)):
            yield "remote", f"{self.remote!r} is none of {', '.join(_PROTOCOLS)}, user@host:path"
        if self.remote and urlsplit(self.remote).password is not None:
            yield "remote", "it must not hold a password: credentials_file is the place for it"
        if self.credentials_file and self.credential_helper:
            yield "credential_helper", "credentials_file is stated as well; one of them is asked"
        if ".." in PurePosixPath(self.path).parts:
            yield "path", "it must not lead upwards"
        if self.signatures != "none" and self.allowed_signers is None:
            yield "allowed_signers", f"it must be stated for signatures = {self.signatures!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """A directory, or a git repository."""

    directory: Path | None = setting(
        None, about="the directory of the manifests; the same as `desired` outside the section"
    )
    git: GitSettings | None = setting(None, about="a git repository instead of a directory")
    shared: bool | None = setting(
        None,
        about="whether other hosts read the same manifests; then a virtual server that is not here "
        "is defined only if `spec.host` names this host. Not stated: true for git, where "
        '`host_name` or `claims = "etcd"` is stated, and where manifests of hosts are, or were',
    )
    trust_writable: bool = setting(
        False, about="whether manifests are read although their group or others can write to them"
    )

    def objections(self) -> Iterator[tuple[str, str]]:
        """What does not fit together."""
        if self.directory and self.git:
            yield "git", "a directory is stated as well; one of them is the source"


def _is_scp(remote: str) -> bool:
    """Whether it is ssh's short form, ``user@host:path``."""
    host, colon, _ = remote.partition(":")
    return bool(colon) and "@" in host and "/" not in host and not remote.startswith("-")
