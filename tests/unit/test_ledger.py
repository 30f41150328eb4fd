"""What a test is taken to have asked for, by what its process does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.ledger import LEDGER, WRITE_SECONDS, now
from testbed.started import HOSTS
from testbed.waiting import wait_until

NAME = "rv-test-99-vs-1"
MANIFEST = """\
apiVersion: reconvirt/v1
kind: VirtualServer
metadata: {{name: {name}}}
spec: {{{spec}}}
"""


class Bed:
    """A host that has this virtual server, by the files of its libvirt."""

    NAME = "zhost9"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "etc" / "qemu").mkdir(parents=True)

    def pid_of(self, _daemon: str) -> int:
        return 0

    def define(self, name: str) -> None:
        (self.directory / "etc" / "qemu" / f"{name}.xml").touch()


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path / "bed")
    HOSTS.append(made)
    LEDGER.clear()
    LEDGER.open = True
    yield made
    LEDGER.open = False
    HOSTS.remove(made)


def asked(*subjects: str, since: float = 0.0) -> str:
    return LEDGER.asked(subjects or (NAME,), since, now())


def write(path: Path, name: str = NAME, spec: str = "memory: 1 GiB") -> None:
    path.write_text(MANIFEST.format(name=name, spec=spec))


def run(*words: str) -> None:
    """As a process that is not to do anything."""
    subprocess.run([sys.executable, "-c", "", *words], check=True)


@pytest.mark.usefixtures("bed")
class TestCommands:
    @pytest.mark.parametrize("verb", ["destroy", "undefine", "migrate", "blockcommit"])
    def test_virsh_that_may_end_or_change_it(self, verb: str) -> None:
        run("/usr/bin/virsh", "-c", "qemu:///system", verb, NAME)

        assert verb in asked()
        assert "" == asked("rv-test-99-vs-11")
        assert "" == asked(since=now())  # another process of the same one

    @pytest.mark.parametrize("verb", ["start", "domstate", "dumpxml", "define", "setvcpus"])
    def test_virsh_that_may_not(self, verb: str) -> None:
        run("virsh", verb, NAME)

        assert "" == asked()

    def test_decisions_by_the_program(self) -> None:
        """Only for what they name: whatever else it does, it does because of manifests."""
        run("reconvirt", "apply")
        run("reconvirt", "get", NAME)
        assert "" == asked()

        run("reconvirt", "apply", NAME)
        assert asked(since=now())

    def test_a_signal(self) -> None:
        LEDGER.pids = {os.getpid(): NAME}
        os.kill(os.getpid(), 0)
        assert "" == asked()
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            LEDGER.pids = {process.pid: NAME}
            process.kill()

        assert asked()

    def test_a_program_that_writes_an_image(self) -> None:
        """It may take a while; looking at it changes nothing."""
        run("qemu-img", "info", "/images/a.qcow2")
        assert "" == asked("/images/a.qcow2")

        resize = ("qemu-img", "resize", "/images/a.qcow2", "1G")
        code = "input()"
        with subprocess.Popen(
            [sys.executable, "-c", code, *resize], stdin=subprocess.PIPE
        ) as resizing:
            assert asked("/images/a.qcow2")
            since = now() + WRITE_SECONDS
            assert "" == LEDGER.asked(("/images/a.qcow2",), since, since + 1)
            wait_until(lambda: now() > since, 10, "the time that is enough for most")
            LEDGER.renew()
            assert asked("/images/a.qcow2", since=since)
            assert resizing.stdin is not None
            resizing.stdin.write(b"\n")
        LEDGER.renew()
        assert "" == LEDGER.asked(("/images/a.qcow2",), now(), now() + 2 * WRITE_SECONDS)

    def test_git(self, bed: Bed) -> None:
        """What it changes in the work tree is not seen in any other way."""
        bed.define(NAME)
        run("git", "commit", "-m", "revert it")
        assert "" == asked()

        run("git", "-C", "/desired", "revert", "HEAD")
        assert asked(since=now())


class TestFiles:
    @pytest.mark.usefixtures("bed")
    def test_an_image(self, tmp_path: Path) -> None:
        """Written, renamed, or removed with its directory."""
        folder = tmp_path / "images"
        folder.mkdir()
        image, moved = folder / "a.raw", folder / "b.raw"
        image.write_bytes(b"")
        assert asked(str(image))

        LEDGER.clear()
        image.replace(moved)
        assert asked(str(image))
        assert asked(str(moved))

        LEDGER.clear()
        shutil.rmtree(folder)
        assert asked(str(moved))
        assert "" == asked(str(tmp_path / "images2"))

    def test_a_manifest_that_makes_it(self, bed: Bed, tmp_path: Path) -> None:
        """It does not ask for the end of what it makes, unless that is stated in it."""
        write(tmp_path / "a.yaml")
        bed.define(NAME)
        assert "" == asked()

        for number, spec in enumerate(("state: shutoff", "policy: {restart: automatic}")):
            name = f"{NAME}{number}"
            write(tmp_path / f"{name}.yaml", name, spec)
            assert asked(name, since=now())

    def test_an_edit_of_one_that_is_there(self, bed: Bed, tmp_path: Path) -> None:
        """It may end at any time from then on; others may not."""
        bed.define(NAME)
        bed.define("rv-test-99-other")
        write(tmp_path / "a.yaml")

        assert "a.yaml was changed" in asked(since=now())
        assert "" == asked("rv-test-99-other")

    def test_a_removal(self, bed: Bed, tmp_path: Path) -> None:
        """Alone, by the file's new name, or with the directory."""
        folder = tmp_path / "desired"
        folder.mkdir()
        bed.define(NAME)
        for remove in (Path.unlink, lambda path: path.rename(tmp_path / "gone"), remove_parent):
            folder.mkdir(exist_ok=True)
            write(folder / "a.yaml")
            LEDGER.clear()
            assert "" == asked()
            remove(folder / "a.yaml")
            assert asked()

    @pytest.mark.parametrize(
        "text", ["", "# nothing\n", "kind: [", "[" * 5000, "kind: VirtualServer\n"]
    )
    def test_a_broken_one(self, bed: Bed, tmp_path: Path, text: str) -> None:
        """It changes nothing, so nothing is asked for."""
        path = tmp_path / "a.yaml"
        write(path)
        bed.define(NAME)
        LEDGER.clear()

        path.write_text(text)

        assert "" == asked()

    def test_what_others_refer_to(self, bed: Bed, tmp_path: Path) -> None:
        """A profile may change whatever there is; a host is no reason for anything to end."""
        bed.define(NAME)
        path = tmp_path / "a.yaml"
        path.write_text("kind: Host\nmetadata: {name: zhost1}\n")
        assert "" == asked()

        path.write_text("kind: VirtualServerProfile\nmetadata: {name: small}\n")
        assert asked()
        assert "" == asked("rv-test-99-later")


def remove_parent(path: Path) -> None:
    shutil.rmtree(path.parent)


def test_what_is_asked_later_is_no_reason() -> None:
    LEDGER.clear()
    before = now()
    LEDGER.ask(NAME, "by hand")

    assert "" == LEDGER.asked((NAME,), 0.0, before)
    assert "by hand" == LEDGER.asked((NAME,), 0.0, now())
