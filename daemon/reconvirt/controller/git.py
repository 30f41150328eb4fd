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
from collections.abc import Mapping
from dataclasses import dataclass

from reconvirt.controller.config.source import GitSettings

_NOTHING = "/bin/false"
_OVERRIDES = {
    "advice.detachedHead": "false",
    "core.alternateRefsCommand": _NOTHING,
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.pager": "cat",
    "credential.helper": "",
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


class GitFailed(Exception):
    """A call of git failed, or took too long; the text is git's own, shortened."""


@dataclass(frozen=True, slots=True)
class Git:
    """Calls git on one repository.

    Attributes:
        settings: which repository, and how.
    """

    settings: GitSettings

    def __call__(
        self,
        *arguments: str,
        stdin: bytes = b"",
        remote: bool = False,
        settings: Mapping[str, str] | None = None,
        gnupg_home: str = "/nonexistent",
    ) -> bytes:
        """What a call of git prints.

        Args:
            arguments: the command and its arguments.
            stdin: what it reads.
            remote: whether it may talk to other repositories.
            settings: git's settings for this call.
            gnupg_home: where GnuPG finds the keys that it trusts.

        Raises:
            GitFailed: it failed, or took longer than the settings allow.
        """
        where = self.settings.repository
        overrides = {**_OVERRIDES, "safe.directory": str(where.resolve()), **(settings or {})}
        options = [part for item in overrides.items() for part in ("-c", "=".join(item))]
        command = ["git", "--no-pager", "--no-replace-objects", "-C", str(where), *options]
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell; options go before names
                [*command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**self._environment(remote=remote), "GNUPGHOME": gnupg_home},
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
            raise GitFailed(f"git {arguments[0]}: {_words(errors) or process.returncode}")
        return output

    def _environment(self, *, remote: bool) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.environ.get("HOME", "/"),
            "LC_ALL": "C.UTF-8",
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS if remote else "",
            "GIT_ASKPASS": _NOTHING,
            # Not upwards: a directory that is no repository is not part of another one.
            "GIT_CEILING_DIRECTORIES": str(self.settings.repository.resolve().parent),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_SSH_COMMAND": self._ssh(),
            "GIT_TERMINAL_PROMPT": "0",
            "SSH_ASKPASS_REQUIRE": "never",
        }

    def _ssh(self) -> str:
        options = ["BatchMode=yes", "StrictHostKeyChecking=yes", "ForwardAgent=no"]
        options.append(f"ConnectTimeout={max(1, int(self.settings.timeout_seconds))}")
        if self.settings.known_hosts:
            options.append(f"UserKnownHostsFile={self.settings.known_hosts}")
        command = ["ssh", *(part for each in options for part in ("-o", each))]
        if self.settings.ssh_key:
            command += ["-o", "IdentitiesOnly=yes", "-i", str(self.settings.ssh_key)]
        return shlex.join(command)


def _words(errors: bytes) -> str:
    text = " ".join(errors.decode("utf-8", "replace").split())
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"
