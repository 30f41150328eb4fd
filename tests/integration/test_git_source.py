"""Git as a source, with real repositories."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconvirt.controller.config.source import GitSettings
from reconvirt.controller.source.git import GitFailed
from reconvirt.controller.source.git_source import GitSource
from reconvirt.controller.source.git_sync import sync
from reconvirt.manifest.document import MOST_BYTES
from reconvirt.manifest.model import Snapshot
from testbed.repository import Repository
from testbed.waiting import wait_until

SOON = 20.0
HOST = """apiVersion: reconvirt/v1
kind: Host
metadata: {name: zhost2}
spec: {uri: "qemu+ssh://zhost2/system"}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def settings(repository: Repository | Path, **others: Any) -> GitSettings:
    path = repository.path if isinstance(repository, Repository) else repository
    return GitSettings(**{"repository": path, "path": "desired", **others})


def memory_of(snapshot: Snapshot, name: str = "web1") -> str:
    return str(snapshot.manifests[name].spec["memory"])


def only_problem(snapshot: Snapshot) -> str:
    (problem,) = snapshot.problems
    return str(problem)


class TestAge:
    """Whether manifests are newer than others, as pruning must know."""

    def test_a_commit_includes_its_ancestors(self, repository: Repository) -> None:
        """Those of other branches it does not; of what the repository lacks nothing is known."""
        repository.write()
        first = repository.commit()
        repository("checkout", "-q", "-b", "side")
        side = repository.commit()
        repository("checkout", "-q", "main")
        second = repository.commit("--date=2020-01-01T00:00:00")
        source = GitSource(settings(repository))

        snapshot = source.read()

        asked = (first, second, side, "0" * 40, snapshot.revision, "not-a-commit")
        assert [True, True, False, None, True, None] == [source.includes(each) for each in asked]
        assert int(repository("log", "-1", "--format=%ct")) == snapshot.time

    def test_a_directory_that_becomes_a_submodule_is_not_gone(self, repository: Repository) -> None:
        """The last good commit stays in force; without one it is known that something is unseen."""
        repository.write("web1")
        file = repository.write("web2", folder="desired/site")
        repository.commit()
        source = GitSource(settings(repository))
        source.read()
        shutil.rmtree(file.parent)
        entry = f"160000,{repository('rev-parse', 'HEAD')},desired/site"
        repository("rm", "-q", "-r", "--cached", "desired/site")
        repository("update-index", "--add", "--cacheinfo", entry)
        repository("commit", "-q", "--message=a submodule")

        now, fresh = source.read(), GitSource(settings(repository)).read()

        assert ["web1", "web2"] == list(now.manifests)
        assert "it is a submodule" in only_problem(now)
        assert ["web1"] == list(fresh.manifests)
        assert "desired/site: it is a submodule" in fresh.unseen[0]

    def test_a_link_is_unseen_only_if_it_leads_to_no_file(self, repository: Repository) -> None:
        """A link to a directory may have manifests behind it; one to a file is none."""
        file = repository.write("web1")
        (file.parent / "LATEST").symlink_to("web1.yaml")
        (file.parent / "site").symlink_to("../elsewhere")
        repository.write("web2", folder="elsewhere")
        repository.commit()

        snapshot = GitSource(settings(repository)).read()

        assert () == snapshot.problems
        [unseen] = snapshot.unseen
        assert "desired/site: it is a link" in unseen


class TestWorkTree:
    """A local work tree, read at its commit."""

    def test_only_what_is_committed_counts(self, repository: Repository) -> None:
        """Not the files, not the index; the revision is the commit and the digest."""
        repository.write()
        commit = repository.commit()
        repository.write(memory="2 GiB")
        repository.write("other")
        repository("add", "--all")
        source = GitSource(settings(repository))

        snapshot = source.read()

        assert ["web1"] == list(snapshot.manifests)
        assert "1 GiB" == memory_of(snapshot)
        assert (commit, 64) == (snapshot.revision[:40], len(snapshot.revision[41:]))
        assert () == snapshot.problems

    def test_a_bad_commit_leaves_all_of_the_last_good_one(self, repository: Repository) -> None:
        """A commit is taken over as a whole; what is wrong with it is told with file and line."""
        repository.write("web1")
        repository.write("web2")
        good = repository.commit()
        source = GitSource(settings(repository))
        source.read()
        repository.write("web1", memory="2 GiB")
        repository.write("web2", memory="much")
        repository.commit()

        snapshot = source.read()

        assert good == snapshot.revision[:40]
        assert "1 GiB" == memory_of(snapshot, "web1")
        assert {"web1", "web2"} == snapshot.retained
        assert "desired/web2.yaml:4:" in only_problem(snapshot)

        repository.write("web2", memory="3 GiB")
        mended = repository.commit()
        assert mended == source.read().revision[:40]
        assert "2 GiB" == memory_of(source.read(), "web1")

    def test_the_hosts_of_the_last_good_commit_stay(self, repository: Repository) -> None:
        """Without them all would be taken for the business of this host."""
        host = repository.path / "desired" / "zhost2.yaml"
        repository.write("web1")
        host.write_text(HOST, encoding="utf-8")
        repository.commit()
        source = GitSource(settings(repository))
        good = source.read().hosts
        repository.write("web2", memory="much")
        repository.commit()

        assert {"zhost2"} == good.keys()
        assert good == source.read().hosts
        shutil.rmtree(repository.path)
        assert good == source.read().hosts

    def test_a_restart_at_a_bad_commit(self, repository: Repository, tmp_path: Path) -> None:
        """The last good one is remembered; without a memory what is good of it is taken."""
        repository.write("web1")
        good = repository.commit()
        memory = tmp_path / "good-commit"
        GitSource(settings(repository), memory=memory, keep=True).read()
        repository.write("web1", memory="2 GiB")
        repository.write("web2", memory="much")
        repository.commit()

        remembered = GitSource(settings(repository), memory=memory).read()
        forgotten = GitSource(settings(repository)).read()

        assert (good, "1 GiB") == (remembered.revision[:40], memory_of(remembered))
        assert "2 GiB" == memory_of(forgotten)
        assert 1 == len(remembered.problems) == len(forgotten.problems)

    def test_a_checkout_that_was_interrupted(self, repository: Repository) -> None:
        """Half of the files, a lock of the index: none of it matters."""
        for number in range(5):
            repository.write(f"web{number}")
        repository.commit()
        (repository.path / ".git" / "index.lock").touch()
        (repository.path / "desired" / "web1.yaml").unlink()
        (repository.path / "desired" / "web2.yaml").write_text("apiVersion: reco")

        snapshot = GitSource(settings(repository)).read()

        assert (5, ()) == (len(snapshot.manifests), snapshot.problems)

    def test_a_repository_that_is_gone_prunes_nothing(self, repository: Repository) -> None:
        """Nor one that is no repository any more, or whose objects are damaged."""
        repository.write()
        repository.commit()
        source = GitSource(settings(repository))
        before = source.read()
        away = repository.path.with_name("away")

        repository.path.rename(away)
        gone = source.read()
        repository.path.mkdir()
        empty = source.read()
        repository.path.rmdir()
        away.rename(repository.path)
        objects = repository.path / ".git" / "objects"
        objects.rename(objects.with_name("elsewhere"))
        damaged = source.read()
        objects.with_name("elsewhere").rename(objects)
        back = source.read()

        for each in (gone, empty, damaged):
            assert before.manifests == each.manifests
            assert before.revision == each.revision
            assert 1 == len(each.problems)
        assert ((), before.manifests) == (back.problems, back.manifests)

    def test_a_directory_that_a_commit_lacks_prunes_nothing(self, repository: Repository) -> None:
        """An empty repository is no statement either."""
        source = GitSource(settings(repository))
        assert "there is no commit at HEAD" in only_problem(source.read())
        repository.write()
        repository.commit()
        source.read()

        repository("mv", "desired", "moved")
        repository.commit()

        assert ["web1"] == list(source.read().manifests)
        assert "it has no directory desired" in only_problem(source.read())

    def test_it_does_not_look_upwards_for_a_repository(self, repository: Repository) -> None:
        """A plain directory inside a work tree is none."""
        repository.write()
        repository.commit()

        snapshot = GitSource(settings(repository.path / "desired", path=".")).read()

        assert "not a git repository" in only_problem(snapshot)

    def test_a_manifest_that_is_removed_is_gone(self, repository: Repository) -> None:
        """By a commit, that is."""
        repository.write("web1")
        repository.write("web2")
        repository.commit()
        source = GitSource(settings(repository))
        source.read()

        (repository.path / "desired" / "web1.yaml").unlink()
        assert 2 == len(source.read().manifests)
        repository.commit()

        assert ["web2"] == list(source.read().manifests)

    def test_links_hidden_files_and_large_ones(self, repository: Repository) -> None:
        """Links are followed within the commit only."""
        repository.write("web1")
        repository.write("shared", folder="common")
        folder = repository.path / "desired"
        (folder / "link.yaml").symlink_to("../common/shared.yaml")
        (folder / ".hidden.yaml").write_text("bad: [")
        (folder / "notes.txt").write_text("no manifest")
        repository.commit()
        source = GitSource(settings(repository))
        assert (["shared", "web1"], ()) == (list(source.read().manifests), source.read().problems)

        (folder / "out.yaml").symlink_to("/etc/hostname")
        (folder / "nowhere.yaml").symlink_to("absent")
        (folder / "large.yaml").write_bytes(b"#" * (MOST_BYTES + 1))
        (folder / "line\nbreak.yaml").write_text("x")
        repository.commit()

        problems = sorted(each.message for each in source.read().problems)
        assert 2 == sum("it is a link that leads" in each for each in problems)
        assert any("larger than" in each for each in problems)
        assert any("line break" in each for each in problems)

    def test_branch_and_tag(self, repository: Repository) -> None:
        """HEAD may be elsewhere, as in the middle of a rebase."""
        repository.write()
        repository.commit()
        repository("tag", "v1")
        repository("checkout", "--quiet", "-b", "topic")
        repository.write(memory="2 GiB")
        repository.commit()

        def read(**others: str) -> str:
            return memory_of(GitSource(settings(repository, **others)).read())

        assert "2 GiB" == read()
        assert "1 GiB" == read(branch="main") == read(tag="v1")
        missing = GitSource(settings(repository, branch="absent")).read()
        assert "there is no commit at refs/heads/absent" in only_problem(missing)

    def test_others_must_not_write(self, repository: Repository) -> None:
        """Unless every commit must be signed, or the configuration says so."""
        repository.write()
        repository.commit()
        repository.path.chmod(0o777)

        refused = GitSource(settings(repository), strict=True).read()

        assert "everybody can write to it" in only_problem(refused)
        assert 1 == len(GitSource(settings(repository)).read().manifests)


def test_a_repository_runs_no_programs(repository: Repository, tmp_path: Path) -> None:
    """Its configuration may name some; hooks, too."""
    repository.write()
    trap, caught = tmp_path / "trap", tmp_path / "caught"
    trap.write_text(f"#!/bin/sh\necho $0 $@ >> {caught}\nexit 1\n")
    trap.chmod(0o755)
    for name in (
        *("core.fsmonitor", "core.pager", "core.sshCommand", "core.alternateRefsCommand"),
        *("gpg.program", "gpg.ssh.program", "gpg.openpgp.program", "credential.helper"),
        *("core.editor", "diff.external", "core.askPass", "uploadpack.packObjectsHook"),
    ):
        repository("config", name, str(trap))
    repository("config", "alias.rev-parse", f"!{trap}")
    subprocess.run(
        ["git", "-c", "core.fsmonitor=false", "add", "-A"], cwd=repository.path, check=True
    )
    subprocess.run(
        [
            *("git", "-c", "user.name=x", "-c", "user.email=x@x", "-c", "core.fsmonitor=false"),
            *("commit", "--quiet", "--no-verify", "-m", "x"),
        ],
        cwd=repository.path,
        check=True,
    )
    caught.unlink(missing_ok=True)
    for hook in ("post-checkout", "reference-transaction", "post-index-change", "pre-auto-gc"):
        shutil.copy(trap, repository.path / ".git" / "hooks" / hook)

    source = GitSource(settings(repository, signatures="ssh", allowed_signers=tmp_path / "none"))
    source.read()
    plain = GitSource(settings(repository)).read()

    assert not caught.exists(), caught.read_text()
    assert ["web1"] == list(plain.manifests)


class Watched:
    """A source that is watched by a thread of its own."""

    def __init__(self, source: GitSource) -> None:
        self.source, self.snapshots = source, list[Snapshot]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        for snapshot in self.source.watch(self._stop):
            self.snapshots += [snapshot]

    def end(self) -> float:
        began = time.monotonic()
        self._stop.set()
        self.source.poke()
        self._thread.join(SOON)
        assert not self._thread.is_alive()
        return time.monotonic() - began


@pytest.fixture
def watched(repository: Repository) -> Iterator[Watched]:
    repository.write()
    repository.commit()
    watch = Watched(GitSource(settings(repository), rescan=600))
    yield watch
    watch.end()


def test_a_commit_is_noticed(repository: Repository, watched: Watched) -> None:
    """Long before the rescan; edits are not."""
    wait_until(lambda: watched.snapshots, SOON, "the first snapshot")
    repository.write(memory="2 GiB")
    time.sleep(1.2)
    assert 1 == len(watched.snapshots)

    repository.commit()

    wait_until(lambda: len(watched.snapshots) == 2, SOON, "the second snapshot")
    assert "2 GiB" == memory_of(watched.snapshots[-1])
    repository("pack-refs", "--all")
    repository.write(memory="3 GiB")
    repository.commit()
    wait_until(lambda: len(watched.snapshots) == 3, SOON, "the third snapshot")
    assert watched.end() < 5


class TestSignatures:
    """Commits that must be signed."""

    def test_ssh(self, repository: Repository, tmp_path: Path) -> None:
        """By somebody in the file of allowed signers."""
        for name in ("ann", "eve"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name]
            subprocess.run(command, check=True)
        key = (tmp_path / "ann.pub").read_text()
        signers = tmp_path / "signers"
        signers.write_text(f'ann@example.com namespaces="git" {key}')
        repository("config", "gpg.format", "ssh")
        source = GitSource(settings(repository, signatures="ssh", allowed_signers=signers))

        def sign(who: str, memory: str) -> str:
            repository("config", "user.signingKey", tmp_path / f"{who}.pub")
            repository.write(memory=memory)
            return repository.commit("--gpg-sign")

        good = sign("ann", "1 GiB")
        assert (good, ()) == (source.read().revision[:40], source.read().problems)
        repository.write(memory="2 GiB")
        unsigned = repository.commit("--no-gpg-sign")
        assert (good, "1 GiB") == (source.read().revision[:40], memory_of(source.read()))
        assert f"commit {unsigned[:12]}: it is not signed" in only_problem(source.read())
        sign("eve", "3 GiB")
        assert "1 GiB" == memory_of(source.read())
        assert "no trusted signature" in only_problem(source.read())
        sign("ann", "4 GiB")
        assert ("4 GiB", ()) == (memory_of(source.read()), source.read().problems)

        # A signature of the other kind is none.
        gpg = GitSource(settings(repository, signatures="gpg", allowed_signers=tmp_path / "no"))
        assert "no trusted signature" in only_problem(gpg.read())

    def test_gpg(self, repository: Repository, tmp_path: Path) -> None:
        """By a key in the keyring of that directory."""
        homes = {name: tmp_path / name for name in ("ann", "eve")}
        for name, home in homes.items():
            home.mkdir(mode=0o700)
            make = ["--quick-gen-key", f"{name}@example.com", "ed25519", "sign", "never"]
            self.gpg(home, "--passphrase", "", *make)
        source = GitSource(settings(repository, signatures="gpg", allowed_signers=homes["ann"]))

        def sign(who: str, memory: str) -> None:
            program = tmp_path / f"gpg-{who}"
            program.write_text(f'#!/bin/sh\nexec gpg --homedir {homes[who]} "$@"\n')
            program.chmod(0o755)
            repository("config", "gpg.program", program)
            repository("config", "user.signingKey", f"{who}@example.com")
            repository.write(memory=memory)
            repository.commit("--gpg-sign")

        try:
            sign("ann", "1 GiB")
            assert ("1 GiB", ()) == (memory_of(source.read()), source.read().problems)
            sign("eve", "2 GiB")
            assert "1 GiB" == memory_of(source.read())
            assert "no trusted signature" in only_problem(source.read())
        finally:
            for home in homes.values():
                subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)

    @staticmethod
    def gpg(home: Path, *arguments: str) -> None:
        command = ["gpg", "--batch", "--quiet", "--homedir", home, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


class TestRemote:
    """A bare repository that 'reconvirt sync' fills."""

    @pytest.fixture
    def bare(self, repository: Repository, tmp_path: Path) -> GitSettings:
        repository.write()
        repository.commit()
        return self.fetched(repository, tmp_path / "state" / "mirror.git")

    @staticmethod
    def fetched(remote: Repository, mirror: Path, **others: Any) -> GitSettings:
        url = f"file://{remote.path}"
        return settings(mirror, **{"remote": url, "branch": "main", **others})

    def test_it_is_fetched(self, repository: Repository, bare: GitSettings) -> None:
        """The second time there is nothing new; the clone is bare and makes no work tree."""
        source = GitSource(bare)
        assert "'reconvirt sync' fetches it" in only_problem(
            source.read()
        ) or "No such file" in only_problem(source.read())

        first, second = sync(bare), sync(bare)

        assert ("", first.after) == (first.before, second.before)
        assert first.after == second.after == repository("rev-parse", "HEAD")
        assert "1 GiB" == memory_of(source.read())
        assert not (bare.repository / "desired").exists()

    @pytest.mark.parametrize("depth", [0, 1])
    def test_a_force_push(self, repository: Repository, bare: GitSettings, depth: int) -> None:
        """What the branch is now counts, whatever it was."""
        shallow = self.fetched(repository, bare.repository, depth=depth)
        repository.write(memory="2 GiB")
        repository.commit()
        sync(shallow)
        source = GitSource(shallow)
        assert "2 GiB" == memory_of(source.read())

        repository("reset", "--quiet", "--hard", "HEAD~1")
        repository.write(memory="3 GiB")
        repository.commit("--amend")
        sync(shallow)

        assert "3 GiB" == memory_of(source.read())
        assert () == source.read().problems

    @pytest.mark.parametrize("path", ["./desired", "desired/", ".", "./"])
    def test_the_directory_may_be_spelt_in_any_way(
        self, repository: Repository, bare: GitSettings, path: str
    ) -> None:
        """Its files are fetched, although git calls it in one way only."""
        repository("config", "uploadpack.allowFilter", "true")
        spelt = self.fetched(repository, bare.repository, path=path)

        sync(spelt)
        snapshot = GitSource(spelt).read()

        assert (["web1"], ()) == (list(snapshot.manifests), snapshot.problems)

    def test_another_directory_must_be_fetched_first(
        self, repository: Repository, bare: GitSettings
    ) -> None:
        """The configuration has changed, and the daemon never talks to the network."""
        repository("config", "uploadpack.allowFilter", "true")
        repository.write("web2", folder="other")
        repository.commit()
        sync(bare)
        other = self.fetched(repository, bare.repository, path="other")

        assert "'reconvirt sync' fetches them" in only_problem(GitSource(other).read())
        sync(other)
        assert ["web2"] == list(GitSource(other).read().manifests)

    def test_what_cannot_be_fetched_changes_nothing(
        self, repository: Repository, bare: GitSettings
    ) -> None:
        """The remote gone, the branch gone."""
        sync(bare)
        source = GitSource(bare)
        repository("branch", "--move", "main", "other")
        with pytest.raises(GitFailed, match="couldn't find remote ref"):
            sync(bare)
        repository.path.rename(repository.path.with_name("gone"))
        with pytest.raises(GitFailed, match="fetch"):
            sync(bare)

        assert ("1 GiB", ()) == (memory_of(source.read()), source.read().problems)

    def test_a_fetch_that_is_killed(self, repository: Repository, bare: GitSettings) -> None:
        """The reference changes last, and at once."""
        sync(bare)
        for number in range(50):
            (repository.path / f"ballast-{number}").write_bytes(os.urandom(100_000))
        repository.write(memory="2 GiB")
        repository.commit()
        hurried = self.fetched(repository, bare.repository, timeout_seconds=0.02)

        with pytest.raises(GitFailed, match="took longer than"):
            sync(hurried)

        source = GitSource(bare)
        assert ("1 GiB", ()) == (memory_of(source.read()), source.read().problems)
        sync(bare)
        assert "2 GiB" == memory_of(source.read())

    def test_other_protocols_are_refused(self, bare: GitSettings, tmp_path: Path) -> None:
        """The configuration refuses them already; git is told, too."""
        caught = tmp_path / "caught"
        evil = GitSettings(
            repository=bare.repository, remote=f"ext::sh -c touch% {caught}", branch="main"
        )

        with pytest.raises(GitFailed, match="transport 'ext' not allowed"):
            sync(evil)

        assert not caught.exists()

    def test_the_mirror_is_its_owner_s(self, bare: GitSettings) -> None:
        """Nobody else can write to it."""
        sync(bare)

        assert not stat.S_IMODE(bare.repository.stat().st_mode) & 0o022
        assert () == GitSource(bare, strict=True).read().problems
