"""Fetching manifests from real servers: sshd, and git over https."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconvirt.controller.config.source import GitSettings
from reconvirt.controller.source.git import Git, GitFailed
from reconvirt.controller.source.git_source import GitSource
from reconvirt.controller.source.git_sync import sync
from testbed.repository import Repository
from testbed.servers import HttpsServer, SshServer, make_key, silent_server
from testbed.waiting import limit

MEGABYTE = 1024 * 1024


@pytest.fixture
def upstream(tmp_path: Path) -> Repository:
    """The repository on the server, with one manifest."""
    (tmp_path / "upstream").mkdir()
    made = Repository(tmp_path / "upstream" / "manifests")
    made.write()
    made.commit()
    return made


def mirror(tmp_path: Path, remote: str, **others: Any) -> GitSettings:
    return GitSettings(
        repository=tmp_path / "mirror.git",
        remote=remote,
        **{"branch": "main", "path": "desired", **others},
    )


def names(settings: GitSettings) -> list[str]:
    """What the daemon reads, which never talks to the network; nothing may be wrong with it."""
    snapshot = GitSource(settings).read()
    assert () == snapshot.problems
    return sorted(snapshot.manifests)


def size(settings: GitSettings) -> int:
    """The bytes of all objects that are there."""
    return sum(each.stat().st_size for each in settings.repository.rglob("objects/**/*"))


class TestSsh:
    """A real sshd on the loopback interface."""

    @pytest.fixture
    def key(self, tmp_path: Path) -> Path:
        return make_key(tmp_path / "id")

    @pytest.fixture
    def server(self, tmp_path: Path, key: Path) -> Iterator[SshServer]:
        with SshServer(tmp_path / "sshd", key) as started:
            yield started

    @pytest.fixture
    def fetched(
        self, tmp_path: Path, server: SshServer, upstream: Repository, key: Path
    ) -> GitSettings:
        url = server.url(upstream.path)
        return mirror(tmp_path, url, ssh_key=key, known_hosts=server.known_hosts)

    def test_it_is_fetched(self, upstream: Repository, fetched: GitSettings) -> None:
        """With the key that is stated, from the host whose key is pinned."""
        assert sync(fetched).after == upstream("rev-parse", "HEAD")
        assert ["web1"] == names(fetched)
        upstream.write("web2")
        upstream.commit()
        sync(fetched)

        assert ["web1", "web2"] == names(fetched)

    def test_an_unknown_host_is_refused(
        self, tmp_path: Path, fetched: GitSettings, upstream: Repository
    ) -> None:
        """Though it would take the key: nobody knows whose it is. What was fetched stays."""
        sync(fetched)
        upstream.write("web2")
        upstream.commit()
        assert fetched.known_hosts is not None
        known = fetched.known_hosts.read_text()
        fetched.known_hosts.write_text("")

        with pytest.raises(GitFailed, match=r"host key is not in .*sshd/known_hosts: have its adm"):
            sync(fetched)

        other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()[1]
        fetched.known_hosts.write_text(f"{' '.join(known.split()[:2])} {other}\n")
        with pytest.raises(GitFailed, match=r"has another host key than .*sshd/known_hosts says"):
            sync(fetched)
        assert ["web1"] == names(fetched)

    def test_a_wrong_key_is_refused(
        self, tmp_path: Path, server: SshServer, upstream: Repository
    ) -> None:
        """At once, without a question for a password."""
        settings = mirror(
            tmp_path,
            server.url(upstream.path),
            ssh_key=make_key(tmp_path / "eve"),
            known_hosts=server.known_hosts,
        )

        with pytest.raises(GitFailed, match=r"does not take the key .*/eve \(source.git.ssh_key\)"):
            sync(settings)

    def test_no_connection_outlives_it(self, tmp_path: Path, fetched: GitSettings) -> None:
        """Whatever the configuration of ssh says of connections that are shared."""
        configuration = tmp_path / "ssh_config"
        configuration.write_text("ControlMaster auto\nControlPath ~/%C\nControlPersist yes\n")
        command = shlex.split(Git(fetched)._ssh())

        found = subprocess.run(
            [*command, "-F", configuration, "-G", "git.example.com"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()

        assert "controlmaster false" in found
        assert "controlpath" not in {each.partition(" ")[0] for each in found}

    def test_a_server_that_hangs(self, tmp_path: Path, key: Path) -> None:
        """Is given up when its time is over; nothing is left running."""
        with silent_server() as port:
            settings = mirror(
                tmp_path,
                f"ssh://git@127.0.0.1:{port}/x.git",
                ssh_key=key,
                known_hosts=tmp_path / "none",
                timeout_seconds=2,
            )
            began = time.monotonic()
            with pytest.raises(GitFailed, match=r"took longer than 2 s|timed out"):
                sync(settings)

        assert time.monotonic() - began < limit(30)
        assert "" == processes_with(f"127.0.0.1:{port}")

    @pytest.mark.parametrize("accepts", [True, False], ids=["protocol-2", "protocol-0"])
    def test_a_large_repository(
        self, tmp_path: Path, key: Path, upstream: Repository, *, accepts: bool
    ) -> None:
        """sshd must let git's newer protocol through for single files; else all are fetched."""
        ballast(upstream)
        upstream("config", "uploadpack.allowFilter", "true")
        lines = ["AcceptEnv GIT_PROTOCOL"] if accepts else []
        with SshServer(tmp_path / "sshd2", key, *lines) as server:
            settings = mirror(
                tmp_path,
                server.url(upstream.path),
                ssh_key=key,
                known_hosts=server.known_hosts,
            )
            sync(settings)
            upstream.write("web2")
            upstream.commit()
            sync(settings)

        assert ["web1", "web2"] == names(settings)
        assert (size(settings) < MEGABYTE) == accepts


def ballast(repository: Repository) -> None:
    """Four megabytes that are no manifests, and as many in the history."""
    for number in range(2):
        (repository.path / "image.bin").write_bytes(os.urandom(4 * MEGABYTE))
        (repository.path / "number").write_text(str(number))
        repository.commit()


def processes_with(text: str) -> str:
    """The processes whose command lines hold a text."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return "\n".join(line for line in listed.stdout.splitlines() if text in line)


class TestHttps:
    """git's own program for http, behind TLS."""

    @pytest.fixture
    def server(self, tmp_path: Path, upstream: Repository) -> Iterator[HttpsServer]:
        with HttpsServer(tmp_path / "https", upstream.path.parent) as started:
            yield started

    @pytest.fixture
    def guarded(self, tmp_path: Path, upstream: Repository) -> Iterator[HttpsServer]:
        server = HttpsServer(tmp_path / "https", upstream.path.parent, user="ann:s3cr3t")
        with server as started:
            yield started

    def test_it_is_fetched(self, tmp_path: Path, upstream: Repository, server: HttpsServer) -> None:
        """With an authority of our own."""
        settings = mirror(tmp_path, f"{server.url}/manifests", ca=server.ca)

        sync(settings)
        upstream.write("web2")
        upstream.commit()
        sync(settings)

        assert ["web1", "web2"] == names(settings)

    def test_a_certificate_of_nobody_we_trust(self, tmp_path: Path, server: HttpsServer) -> None:
        """Whatever the repository's own configuration and the environment say."""
        settings = mirror(tmp_path, f"{server.url}/manifests")
        with pytest.raises(GitFailed, match=r"cannot be checked with those that the machine trust"):
            sync(settings)
        for name in ("http.sslVerify", f"http.{server.url}/.sslVerify"):
            subprocess.run(["git", "-C", settings.repository, "config", name, "false"], check=True)

        with pytest.raises(GitFailed, match="certificate"):
            sync(settings)

    def test_a_certificate_for_another_name(self, tmp_path: Path, upstream: Repository) -> None:
        """By an authority that is trusted."""
        named = HttpsServer(tmp_path / "named", upstream.path.parent, name="DNS:git.example.com")
        with named as server:
            settings = mirror(tmp_path, f"{server.url}/manifests", ca=server.ca)
            with pytest.raises(GitFailed, match=r"or is for another name \(source.git.ca\)"):
                sync(settings)

    def test_credentials(self, tmp_path: Path, guarded: HttpsServer) -> None:
        """From a file, or from a helper; a wrong or missing one is told, a password never."""
        url = f"{guarded.url}/manifests"
        good, wrong = tmp_path / "good file", tmp_path / "wrong"
        good.write_text(url.replace("://", "://ann:s3cr3t@").removesuffix("/manifests") + "\n")
        wrong.write_text(url.replace("://", "://ann:0therw1se@").removesuffix("/manifests") + "\n")
        helper = tmp_path / "helper"
        helper.write_text("#!/bin/sh\n[ $1 = get ] && echo username=ann && echo password=s3cr3t\n")
        helper.chmod(0o755)

        with pytest.raises(GitFailed, match=r"state source.git.credentials_file"):
            sync(mirror(tmp_path, url, ca=guarded.ca))
        with pytest.raises(GitFailed, match="does not take name and password of") as refused:
            sync(mirror(tmp_path, url, ca=guarded.ca, credentials_file=wrong))
        assert "0therw1se" not in str(refused.value)
        sync(mirror(tmp_path, url, ca=guarded.ca, credentials_file=good))
        settings = mirror(tmp_path, url, ca=guarded.ca, credential_helper=str(helper))
        sync(settings)

        assert ["web1"] == names(settings)
        assert len(guarded.heard) > 2
        stored = "".join(
            each.read_text(errors="replace")
            for each in settings.repository.rglob("*")
            if each.is_file()
        )
        assert "s3cr3t" not in stored

    def test_a_server_that_hangs(self, tmp_path: Path) -> None:
        """Is given up when its time is over."""
        with silent_server() as port:
            settings = mirror(tmp_path, f"https://127.0.0.1:{port}/x.git", timeout_seconds=2)
            with pytest.raises(GitFailed, match="took longer than 2 s"):
                sync(settings)
        assert "" == processes_with(f"127.0.0.1:{port}")

    def test_only_the_manifests_come(
        self, tmp_path: Path, upstream: Repository, server: HttpsServer
    ) -> None:
        """And what links among them lead to; the history is there all the same."""
        ballast(upstream)
        upstream.write("shared", folder="common")
        (upstream.path / "desired" / "link.yaml").symlink_to("../common/shared.yaml")
        upstream.commit()
        upstream("config", "uploadpack.allowFilter", "true")
        settings = mirror(tmp_path, f"{server.url}/manifests", ca=server.ca)

        sync(settings)

        assert ["shared", "web1"] == names(settings)
        assert size(settings) < MEGABYTE
        command = [
            "git",
            "-C",
            settings.repository,
            "rev-list",
            "--count",
            "refs/reconvirt/heads/main",
        ]
        counted = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert upstream("rev-list", "--count", "HEAD") == counted.strip()

        upstream.write("web1", memory="2 GiB")
        upstream("mv", "common/shared.yaml", "desired/moved.yaml")
        (upstream.path / "desired" / "link.yaml").unlink()
        upstream.commit("--amend")
        sync(settings)
        assert ["shared", "web1"] == names(settings)
        assert size(settings) < MEGABYTE

        # Another directory, and then all.
        sync(replace(settings, path="."))
        assert ["shared", "web1"] == names(replace(settings, path="."))
        whole = replace(settings, sparse=False)
        sync(whole)
        sync(whole)
        assert ["shared", "web1"] == names(whole)
        assert size(whole) > 8 * MEGABYTE

    def test_all_of_it_comes_where_the_server_knows_no_filter_or_it_is_stated(
        self, tmp_path: Path, upstream: Repository, server: HttpsServer
    ) -> None:
        """Nothing is different but the size."""
        ballast(upstream)
        settings = mirror(tmp_path, f"{server.url}/manifests", ca=server.ca)
        sync(settings)
        assert ["web1"] == names(settings)
        assert size(settings) > 8 * MEGABYTE

        upstream("config", "uploadpack.allowFilter", "true")
        (tmp_path / "other").mkdir()
        whole = mirror(
            tmp_path / "other", f"{server.url}/manifests", ca=server.ca, sparse=False, depth=1
        )
        sync(whole)
        assert ["web1"] == names(whole)
        assert 4 * MEGABYTE < size(whole) < 8 * MEGABYTE


def test_the_command_tells_it(tmp_path: Path, upstream: Repository) -> None:
    """With the settings of a file, in an environment that would have git do something else."""
    server = HttpsServer(tmp_path / "https", upstream.path.parent, user="ann:s3cr3t")
    with server:
        credentials = tmp_path / "credentials"
        credentials.write_text(f"{server.url.replace('://', '://ann:s3cr3t@')}\n")
        file = tmp_path / "reconvirt.toml"
        file.write_text(
            f'[source.git]\nrepository = "{tmp_path}/mirror.git"\nbranch = "main"\n'
            f'remote = "{server.url}/manifests"\nca = "{server.ca}"\npath = "desired"\n'
        )
        program = Path(sys.executable).with_name("reconvirt")

        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [program, "sync", "--config", file],
                env={**os.environ, "GIT_SSL_NO_VERIFY": "1", "GIT_TRACE_CURL": "1"},
                capture_output=True,
                text=True,
                check=False,
            )

        refused = run()
        file.write_text(f'{file.read_text()}credentials_file = "{credentials}"\n')
        fetched = run()

    assert (1, 0) == (refused.returncode, fetched.returncode), fetched.stderr
    assert "state source.git.credentials_file" in refused.stderr
    assert "s3cr3t" not in f"{fetched.stdout}{fetched.stderr}"
    assert fetched.stdout.startswith("nothing → ")
