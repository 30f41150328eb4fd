"""Calling git so that neither a repository nor an environment decides what runs.

A repository's own configuration can name programs for git to run: hooks, pagers, helpers for
credentials and signatures. Whoever owns the repository may state manifests; that must not make
them the owner of the daemon. So each such setting is overridden on the command line, which goes
before the repository's configuration, and those of the machine and of users are not read.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reconvirt.controller.config.source import GitSettings

_NOTHING = "/bin/false"
_OVERRIDES = {
    "advice.detachedHead": "false",
    "core.alternateRefsCommand": _NOTHING,
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.pager": "cat",
    "credential.helper": "",
    "credential.interactive": "false",
    "credential.useHttpPath": "false",
    "fetch.fsckObjects": "true",
    "gc.autoDetach": "false",
    "gpg.minTrustLevel": "undefined",
    "gpg.program": _NOTHING,
    "gpg.openpgp.program": _NOTHING,
    "gpg.ssh.defaultKeyCommand": "",
    "gpg.ssh.program": _NOTHING,
    "gpg.ssh.revocationFile": "",
    "gpg.x509.program": _NOTHING,
    "maintenance.auto": "false",
}
_PROTOCOLS = "ssh:https:file"
_LONGEST_MESSAGE = 500

REMOTE = "reconvirt"
"""What git calls the remote repository: it notes for it that not all objects were fetched."""


class GitFailed(Exception):
    """A call of git failed, or took too long; the text is git's own, shortened."""


@dataclass(frozen=True, slots=True)
class Git:
    """Calls git on one repository.

    Attributes:
        settings: which repository, and how.
        online: whether it may talk to the remote repository; git does so by itself, too, for an
            object that was left out of an earlier fetch.
    """

    settings: GitSettings
    online: bool = False

    def __call__(
        self,
        *arguments: str,
        stdin: bytes = b"",
        settings: Mapping[str, str] | None = None,
        gnupg_home: str = "/nonexistent",
    ) -> bytes:
        """What a call of git prints.

        Args:
            arguments: the command and its arguments.
            stdin: what it reads.
            settings: git's settings for this call.
            gnupg_home: where GnuPG finds the keys that it trusts.

        Raises:
            GitFailed: it failed, or took longer than the settings allow.
        """
        where = self.settings.repository
        overrides = {**_OVERRIDES, "safe.directory": str(_real(where)), **(settings or {})}
        stated = [*overrides.items(), *(self._remote() if self.online else ())]
        options = [part for item in stated for part in ("-c", "=".join(item))]
        command = ["git", "--no-pager", "--no-replace-objects", "-C", str(where), *options]
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell; options go before names
                [*command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**self._environment(), "GNUPGHOME": gnupg_home},
                start_new_session=True,
            )
        except OSError as error:
            raise GitFailed(f"git cannot be run: {error.strerror}") from error
        try:
            output, errors = process.communicate(stdin, self.settings.timeout_seconds)
        except subprocess.TimeoutExpired:
            # With its session: git leaves the talking to programs of its own.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            limit = f"{self.settings.timeout_seconds:g} s"
            raise GitFailed(f"git {arguments[0]} took longer than {limit}") from None
        if process.returncode:
            raise GitFailed(f"git {arguments[0]}: {self._explain(errors) or process.returncode}")
        return output

    def _remote(self) -> Iterator[tuple[str, str]]:
        """git's settings for the remote repository; of two for one key the later counts."""
        stated = self.settings
        if stated.remote is None:
            return
        yield f"remote.{REMOTE}.url", stated.remote
        # For the very URL, since such settings in the repository would go before general ones.
        yield f"http.{stated.remote}.sslVerify", "true"
        if stated.ca is not None:
            yield f"http.{stated.remote}.sslCAInfo", str(stated.ca)
        if stated.credentials_file is not None:
            file = shlex.quote(str(stated.credentials_file))
            yield "credential.helper", f"store --file={file}"
        elif stated.credential_helper is not None:
            yield "credential.helper", stated.credential_helper

    def _explain(self, errors: bytes) -> str:
        """git's message, with what to do about the commonest."""
        said = _words(errors)
        for sign, advice in _ADVICE.items():
            if sign in said:
                return f"{said} [{advice.format(**_names(self.settings))}]"
        return said

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.environ.get("HOME", "/"),
            "LC_ALL": "C.UTF-8",
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS if self.online else "",
            "GIT_ASKPASS": _NOTHING,
            # Not upwards: a directory that is no repository is not part of another one.
            "GIT_CEILING_DIRECTORIES": str(_real(self.settings.repository).parent),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_SSH_COMMAND": self._ssh(),
            "GIT_TERMINAL_PROMPT": "0",
            "SSH_ASKPASS_REQUIRE": "never",
        }

    def _ssh(self) -> str:
        options = ["BatchMode=yes", "StrictHostKeyChecking=yes", "ForwardAgent=no"]
        # A connection that others go on using would outlive git, and keep us reading what it says.
        options += ["ControlMaster=no", "ControlPath=none"]
        options.append(f"ConnectTimeout={max(1, int(self.settings.timeout_seconds))}")
        if self.settings.known_hosts:
            options.append(f"UserKnownHostsFile={self.settings.known_hosts}")
            options += ["GlobalKnownHostsFile=/dev/null", "UpdateHostKeys=no"]
        command = ["ssh", *(part for each in options for part in ("-o", each))]
        if self.settings.ssh_key:
            command += ["-o", "IdentitiesOnly=yes", "-i", str(self.settings.ssh_key)]
        return shlex.join(command)


# What git and the programs that it calls say, and what that means here.
_ADVICE = {
    "IDENTIFICATION HAS CHANGED": "the server has another host key than {known_hosts} says: "
    "somebody may be in between; if it was changed on purpose, put the new one there",
    "Host key verification failed": "the server's host key is not in {known_hosts}: have its "
    "administrator tell it, and put it there (source.git.known_hosts)",
    "Permission denied (": "the server does not take the key {ssh_key} (source.git.ssh_key), or "
    "not for this user",
    "certificate": "the server's certificate cannot be checked with {ca}, or is for another name "
    "(source.git.ca)",
    "could not read Username": "the server wants name and password: state "
    "source.git.credentials_file",
    "could not read Password": "the server wants a password: state source.git.credentials_file",
    "promisor remote": "not all files below source.git.path were fetched: 'reconvirt sync' fetches "
    "them",
    "Authentication failed": "the server does not take name and password of {credentials}",
}


def _names(settings: GitSettings) -> dict[str, str]:
    """What the advice calls by name."""
    return {
        "known_hosts": str(settings.known_hosts or "ssh's files of known hosts"),
        "ssh_key": str(settings.ssh_key or "that ssh finds by itself"),
        "ca": str(settings.ca or "those that the machine trusts"),
        "credentials": str(
            settings.credentials_file or settings.credential_helper or "the request"
        ),
    }


def _real(path: Path) -> Path:
    """Where a path leads; also one whose links lead round in a circle, which git refuses."""
    return Path(os.path.realpath(path))


def _words(errors: bytes) -> str:
    text = " ".join(errors.decode("utf-8", "replace").split())
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"
