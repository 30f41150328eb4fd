"""Image files, with the real qemu-img."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconvirt.domain.image_plan import ImageFacts
from reconvirt.hypervisor import images
from reconvirt.hypervisor.images import (
    ImageError,
    create_image,
    dac_owner,
    grow_image,
    inspect_image,
    whole_sectors,
)
from testbed.lacks import needs_root

MIB = 1 << 20
CAPABILITIES = """
<capabilities>
  <host>
    <uuid>6f5e24c0-1111-4b6c-9f0e-000000000000</uuid>
    <secmodel>
      <model>apparmor</model>
      <doi>0</doi>
    </secmodel>
    <secmodel>
      <model>dac</model>
      <doi>0</doi>
      <baselabel type='kvm'>+64055:+108</baselabel>
      <baselabel type='qemu'>+64055:+108</baselabel>
    </secmodel>
  </host>
</capabilities>
"""


def make(path: Path, size: int | None = MIB, kind: str = "qcow2", **more: str) -> str:
    create_image(str(path), size, kind, owner=None, **more)
    return str(path)


def names(folder: Path) -> list[str]:
    """All that is there, hidden or not."""
    return sorted(path.name for path in folder.iterdir())


def info(path: Path) -> dict[str, object]:
    """What qemu-img says itself."""
    command = ["qemu-img", "info", "--output=json", f"file:{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class TestInspect:
    """What stands at a path."""

    @pytest.mark.parametrize("kind", ["raw", "qcow2"])
    def test_an_image(self, tmp_path: Path, kind: str) -> None:
        """It serves, and its size is what a virtual server sees."""
        path = make(tmp_path / "disk", 3 * MIB, kind)

        assert ImageFacts(path, kind, 3 * MIB, "") == inspect_image(path, kind)

    def test_nothing(self, tmp_path: Path) -> None:
        """Neither the file nor its directory."""
        assert inspect_image(str(tmp_path / "none"), "raw") is None
        assert inspect_image(str(tmp_path / "no" / "ne"), "qcow2") is None

    def test_raw_where_qcow2_is_wanted(self, tmp_path: Path) -> None:
        """qemu-img's words say so."""
        path = make(tmp_path / "disk", kind="raw")

        facts = inspect_image(path, "qcow2")

        assert facts is not None
        assert (None, None) == (facts.format, facts.size)
        assert facts.problem.startswith("it is no qcow2 image: ")
        assert "not in qcow2 format" in facts.problem

    def test_qcow2_where_raw_is_wanted(self, tmp_path: Path) -> None:
        """QEMU would take it, and the virtual server would see the qcow2 header."""
        path = make(tmp_path / "disk")

        facts = inspect_image(path, "raw")

        assert facts == ImageFacts(path, "qcow2", None, "it is a qcow2 image, not raw")

    @pytest.mark.parametrize("kind", ["raw", "qcow2"])
    def test_what_is_no_file(self, tmp_path: Path, kind: str) -> None:
        """None of them is waited for."""
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")

        for path, words in (
            (tmp_path, "neither a file nor a block device"),
            (tmp_path / "fifo", "neither a file nor a block device"),
            (tmp_path / "link", "a symbolic link that leads nowhere"),
        ):
            facts = inspect_image(str(path), kind)
            assert facts is not None
            assert words in facts.problem

    def test_a_corrupt_one(self, tmp_path: Path) -> None:
        """The mark stands in the header."""
        path = make(tmp_path / "disk")
        with Path(path).open("r+b") as image:
            image.seek(79)  # the lowest byte of the incompatible features
            image.write(b"\x02")

        facts = inspect_image(path, "qcow2")

        assert facts is not None
        assert "marked as corrupt" in facts.problem

    def test_an_image_in_use(self, tmp_path: Path) -> None:
        """Its lock does not keep us from looking, only from making it larger."""
        path = make(tmp_path / "disk")
        command = ["qemu-io", "-f", "qcow2", path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
            assert user.stdin is not None
            assert user.stdout is not None
            user.stdin.write(b"length\n")
            user.stdin.flush()
            user.stdout.readline()

            facts = inspect_image(path, "qcow2")
            with pytest.raises(ImageError, match=r"lock.*in use: virsh blockresize"):
                grow_image(path, 2 * MIB, "qcow2")
            user.stdin.close()

        assert facts == ImageFacts(path, "qcow2", MIB, "")

    def test_without_qemu_img(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message says what to install."""
        path = make(tmp_path / "disk")
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(ImageError, match="qemu-utils"):
            inspect_image(path, "qcow2")


class TestCreate:
    """Making an image."""

    @pytest.mark.parametrize("name", ["a,b:c.img", "json:{}", "nbd:localhost:1", "-f", "ä öü"])
    @pytest.mark.parametrize("kind", ["raw", "qcow2"])
    def test_any_name_is_a_file(self, tmp_path: Path, name: str, kind: str) -> None:
        """QEMU's protocols and options have no say in it."""
        path = make(tmp_path / name, kind=kind)
        grow_image(path, 2 * MIB, kind)

        assert ImageFacts(path, kind, 2 * MIB, "") == inspect_image(path, kind)
        assert [name] == names(tmp_path)

    @pytest.mark.parametrize("path", ["disk", "json:{}", "nbd:localhost:1", "-f", "", "./disk"])
    def test_a_path_is_absolute(self, path: str) -> None:
        """Before anything is run."""
        with pytest.raises(ImageError, match="must be absolute"):
            create_image(path, MIB, "raw", owner=None)
        with pytest.raises(ImageError, match="must be absolute"):
            inspect_image(path, "raw")

    def test_it_never_overwrites(self, tmp_path: Path) -> None:
        """Neither a file nor what a link leads to."""
        (tmp_path / "file").write_text("precious")
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")

        for name in ("file", "link"):
            with pytest.raises(ImageError, match=f"{name} already exists, left as it is"):
                make(tmp_path / name)

        assert "precious" == (tmp_path / "file").read_text()
        assert {"file", "link"} == set(names(tmp_path))

    def test_a_file_that_comes_meanwhile_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What counts is the moment when the image gets its name."""
        run = images._run_qemu_img

        def slowly(*arguments: str, **more: float | None) -> subprocess.CompletedProcess[str]:
            (tmp_path / "disk").write_text("precious")
            return run(*arguments, **more)

        monkeypatch.setattr(images, "_run_qemu_img", slowly)
        with pytest.raises(ImageError, match="already exists"):
            make(tmp_path / "disk")

        assert "precious" == (tmp_path / "disk").read_text()
        assert ["disk"] == names(tmp_path)

    def test_many_at_once(self, tmp_path: Path) -> None:
        """One wins, and all images of other names are made."""
        lost = []

        def one(name: str) -> None:
            try:
                make(tmp_path / name)
            except ImageError as error:
                lost.append(str(error))

        threads = [threading.Thread(target=one, args=(name,)) for name in "aaaabcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [f"{tmp_path}/a already exists, left as it is"] * 3 == lost
        assert list("abcd") == names(tmp_path)

    @pytest.mark.parametrize(
        ("kind", "how", "blocks"),
        [("raw", "off", 0), ("raw", "falloc", MIB), ("raw", "full", MIB), ("qcow2", "full", MIB)],
    )
    def test_preallocation(self, tmp_path: Path, kind: str, how: str, blocks: int) -> None:
        """As much is on disk."""
        path = make(tmp_path / "disk", kind=kind, preallocation=how)

        assert Path(path).stat().st_blocks * 512 >= blocks
        assert ImageFacts(path, kind, MIB, "") == inspect_image(path, kind)

    def test_a_layer(self, tmp_path: Path) -> None:
        """Its size is that of the image below, if none is given."""
        below = make(tmp_path / "be,low:1", 3 * MIB, "raw")
        plain = make(tmp_path / "plain", None, backing=below, backing_format="raw")
        larger = make(tmp_path / "larger", 5 * MIB, backing=below, backing_format="raw")

        assert ImageFacts(plain, "qcow2", 3 * MIB, "") == inspect_image(plain, "qcow2")
        assert ImageFacts(larger, "qcow2", 5 * MIB, "") == inspect_image(larger, "qcow2")
        assert below == info(Path(plain))["backing-filename"]
        assert "raw" == info(Path(plain))["backing-filename-format"]

    @pytest.mark.parametrize(
        ("size", "kind", "more", "words"),
        [
            (None, "qcow2", {}, "needs a size"),
            (MIB, "vmdk", {}, "one of raw, qcow2"),
            (MIB, "qcow2", {"backing": "/no/image", "backing_format": "raw"}, "/no/image"),
            (MIB, "qcow2", {"backing": "/no/image"}, "one of raw, qcow2"),
            (MIB, "qcow2", {"backing": "nbd:x", "backing_format": "raw"}, "must be absolute"),
            (MIB, "raw", {"preallocation": "metadata"}, "Unsupported preallocation mode"),
            (1 << 62, "raw", {}, "qemu-img says: .*disk"),
            (1 << 50, "raw", {"preallocation": "falloc"}, "qemu-img says: .*disk"),
        ],
    )
    def test_what_fails_leaves_nothing(
        self, tmp_path: Path, size: int | None, kind: str, more: dict[str, str], words: str
    ) -> None:
        """The message names the image, not the file that it is made in."""
        with pytest.raises(ImageError, match=words) as caught:
            make(tmp_path / "disk", size, kind, **more)

        assert "reconvirt-new" not in str(caught.value)
        assert [] == names(tmp_path)

    def test_no_directory(self, tmp_path: Path) -> None:
        """The message names it."""
        with pytest.raises(ImageError, match=f"disk: No such file or directory .{tmp_path}/no"):
            make(tmp_path / "no" / "disk")

    def test_qemu_img_is_not_waited_for_without_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is ended, and nothing is left."""
        programs, folder = tmp_path / "bin", tmp_path / "images"
        programs.mkdir()
        folder.mkdir()
        (programs / "qemu-img").write_text("#!/bin/sh\nexec sleep 60\n")
        (programs / "qemu-img").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        monkeypatch.setattr(images, "_SECONDS", 0.2)

        with pytest.raises(ImageError, match="not finished after 0 seconds"):
            make(folder / "disk")

        assert [] == names(folder)

    def test_only_the_owner_may_read_it(self, tmp_path: Path) -> None:
        """Whatever the mask."""
        before = os.umask(0)
        try:
            path = make(tmp_path / "disk")
        finally:
            os.umask(before)

        assert 0o600 == Path(path).stat().st_mode & 0o777

    @needs_root
    def test_root_gives_it_away(self, tmp_path: Path) -> None:
        """To whom QEMU runs as."""
        create_image(str(tmp_path / "disk"), MIB, "qcow2", owner=(64055, 108))

        status = (tmp_path / "disk").stat()
        assert (64055, 108, 0o600) == (status.st_uid, status.st_gid, status.st_mode & 0o777)


class TestLeftovers:
    """A run that was killed."""

    def test_are_removed_with_the_next_image(self, tmp_path: Path) -> None:
        """Only what has our name, and is a file."""
        ours = [".disk.a1b2c3d4.reconvirt-new", ".x.y.abcdefg_.reconvirt-new"]
        others = [".disk.a1b2c3d4.new", "disk.a1b2c3d4.reconvirt-new", ".disk.A.reconvirt-new"]
        for name in ours + others:
            (tmp_path / name).touch()

        make(tmp_path / "disk")

        assert {"disk", *others} == set(names(tmp_path))

    def test_of_a_killed_run(self, tmp_path: Path) -> None:
        """They stay as long as its qemu-img runs on, and go afterwards."""
        programs, folder = tmp_path / "bin", tmp_path / "images"
        programs.mkdir()
        folder.mkdir()
        fifo = tmp_path / "end"
        os.mkfifo(fifo)
        (programs / "qemu-img").write_text(f"#!/bin/sh\necho on\nread line < {fifo}\n")
        (programs / "qemu-img").chmod(0o755)
        program = (
            "import sys, reconvirt.hypervisor.images as i; "
            "i.create_image(sys.argv[1], 1 << 20, 'raw', owner=None)"
        )
        run = subprocess.Popen(
            [sys.executable, "-c", program, folder / "first"],
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        )
        end = fifo.open("w")  # waits until qemu-img reads
        run.kill()
        run.wait()
        (left,) = names(folder)

        make(folder / "second")
        assert {left, "second"} == set(names(folder))

        end.close()
        for attempt in range(100):
            make(folder / f"third{attempt}")
            if left not in names(folder):
                break
        assert left not in names(folder)


class TestGrow:
    """Making an image larger."""

    @pytest.mark.parametrize("kind", ["raw", "qcow2"])
    def test_larger(self, tmp_path: Path, kind: str) -> None:
        """What is no whole number of sectors is rounded up, as when it is made."""
        path = make(tmp_path / "disk", 1000, kind)
        grow_image(path, 1000, kind)
        assert ImageFacts(path, kind, 1024, "") == inspect_image(path, kind)

        grow_image(path, 10_000_000, kind)

        assert ImageFacts(path, kind, whole_sectors(10_000_000), "") == inspect_image(path, kind)

    @pytest.mark.parametrize("kind", ["raw", "qcow2"])
    def test_never_smaller(self, tmp_path: Path, kind: str) -> None:
        """Data could be lost."""
        path = make(tmp_path / "disk", 2 * MIB, kind)

        with pytest.raises(ImageError, match="shrinking would destroy data"):
            grow_image(path, MIB, kind)

        assert ImageFacts(path, kind, 2 * MIB, "") == inspect_image(path, kind)

    def test_what_is_no_such_image(self, tmp_path: Path) -> None:
        """Nothing, and a qcow2 image that is said to be raw."""
        with pytest.raises(ImageError, match="there is no image"):
            grow_image(str(tmp_path / "none"), MIB, "raw")
        path = make(tmp_path / "disk")
        content = Path(path).read_bytes()

        with pytest.raises(ImageError, match="qcow2 image, not raw"):
            grow_image(path, 64 * MIB, "raw")

        assert content == Path(path).read_bytes()


@pytest.mark.parametrize(
    ("xml", "owner"),
    [
        (CAPABILITIES, (64055, 108)),
        (CAPABILITIES.replace("+", ""), (64055, 108)),
        (CAPABILITIES.replace("dac", "selinux"), None),
        (CAPABILITIES.replace("64055", "libvirt-qemu"), None),
        ("<capabilities><host/></capabilities>", None),
    ],
)
def test_whom_qemu_runs_as(xml: str, owner: tuple[int, int] | None) -> None:
    """From libvirt's capabilities."""
    assert owner == dac_owner(xml)
