"""Where paths lead, on the real file system, with real images."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconvirt.controller.config.admission import AdmissionSettings
from reconvirt.controller.image_header import named_files
from reconvirt.controller.resolve_path import PathResolver
from reconvirt.domain.admission import admit
from strategies import wanted
from testbed.lacks import needs_root

SPEC = {
    "memory": "1 GiB",
    "vcpu": 1,
    "os": {"arch": "s390x", "machine": "s390-ccw-virtio"},
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    path = tmp_path / "images"
    path.mkdir(mode=0o755)
    return path


def objections(images: Path, source: Path | str, form: str = "raw", **settings: object) -> str:
    """What a host whose only root of disks is ``images`` says of a disk."""
    stated = AdmissionSettings(enforce=True, disk_roots=(images,), **settings)
    admission = stated.admission(images, local=True)
    assert admission is not None
    disk = {
        "type": "file",
        "driver": {"type": form},
        "source": {"file": str(source)},
        "target": {"dev": "vda"},
    }
    found = admit(wanted({**SPEC, "devices": {"disks": [disk]}}), admission)
    return "; ".join(each.reason for each in found)


def qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


def test_files_links_and_what_is_not_there_yet(images: Path) -> None:
    """A link counts as what it leads to, at the end of the path and on the way."""
    (images / "a.img").touch()
    (images / "inside.img").symlink_to("a.img")
    (images / "outside.img").symlink_to("/etc/shadow")
    (images / "etc").symlink_to("/etc")
    (images / "up").symlink_to("..")
    (images / "loop").symlink_to("loop")

    for good in ("a.img", "inside.img", "new.img", "up/images/a.img"):
        assert "" == objections(images, images / good)
    for bad in ("outside.img", "etc/shadow"):
        assert "it leads to /etc/shadow" in objections(images, images / bad)
    assert f"it leads to {images.parent}/x" in objections(images, images / "up" / "x")
    assert "/etc/passwd" in objections(images, f"{images}/../../../../../../../etc/passwd")
    assert "round in a circle" in objections(images, images / "loop")


def test_a_root_that_is_a_link_itself(images: Path) -> None:
    """The administrator has stated it; where it leads is the root."""
    link = images.parent / "link"
    link.symlink_to(images)

    assert "" == objections(link, link / "a.img")
    assert "" == objections(link, images / "a.img")


@pytest.mark.parametrize("mode", [0o775, 0o777])
def test_a_directory_that_others_can_write_to(images: Path, mode: int) -> None:
    """They could turn the path elsewhere between our look and libvirt's."""
    folder = images / "open"
    folder.mkdir()
    folder.chmod(mode)
    (folder / "a.img").touch()

    assert f"others can write to {folder}" in objections(images, folder / "a.img")
    assert "" == objections(images, folder / "a.img", trust_writable=True)


def test_in_a_sticky_directory_ones_own_files_are_safe(images: Path) -> None:
    """As in /tmp: nobody else can replace them; but what is not there yet, anybody can make."""
    folder = images / "sticky"
    folder.mkdir()
    folder.chmod(0o1777)
    (folder / "mine.img").touch()

    assert "" == objections(images, folder / "mine.img")
    assert "others can write" in objections(images, folder / "new.img")


@needs_root
def test_a_directory_of_somebody_else(images: Path) -> None:
    """Its owner can do with it as he likes, unless he is trusted."""
    folder = images / "his"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    (folder / "a.img").touch()

    assert "belongs to nobody" in objections(images, folder / "a.img")
    assert "" == objections(images, folder / "a.img", trusted_owners=("nobody", "absent"))
    os.chown(folder, 54321, 54321)
    assert "belongs to user 54321" in objections(images, folder / "a.img")


@needs_root
def test_the_race_that_this_prevents(images: Path) -> None:
    """Somebody swaps a directory for a link all the time; no answer is ever wrong."""
    folder = images / "open"
    folder.mkdir()
    folder.chmod(0o777)
    swap = "while :; do ln -s /etc d; rm d; mkdir d; touch d/shadow; rm -r d; done"
    swapper = subprocess.Popen(
        ["sh", "-c", swap], cwd=folder, user=65534, stderr=subprocess.DEVNULL
    )
    try:
        answers = {objections(images, folder / "d" / "shadow") for _ in range(500)}
    finally:
        swapper.kill()
        swapper.wait()

    assert "" not in answers


def test_the_files_that_an_image_names(images: Path, tmp_path: Path) -> None:
    """A chain of real images, the last of which lies outside."""
    qemu_img("create", "-f", "raw", tmp_path / "secret.img", "1M")
    qemu_img("create", "-f", "qcow2", images / "middle", "-b", tmp_path / "secret.img", "-F", "raw")
    qemu_img("create", "-f", "qcow2", images / "top", "-b", "middle", "-F", "qcow2")
    qemu_img("create", "-f", "qcow2", images / "alone", "1M")

    chain = (str(images / "middle"), str(tmp_path / "secret.img"))
    assert chain == named_files(str(images / "top"), "qcow2")
    assert () == named_files(str(images / "alone"), "qcow2")
    assert "names it: it is in none of" in objections(images, images / "top", "qcow2")
    assert "" == objections(images, images / "alone", "qcow2")


def test_a_raw_disk_names_nothing_until_it_is_called_otherwise(images: Path) -> None:
    """The guest has written a header to its disk, and then the manifest was changed."""
    qemu_img("create", "-f", "qcow2", images / "disk", "-u", "-b", "/etc/shadow", "-F", "raw", "1M")

    assert "" == objections(images, images / "disk", "raw")
    assert "/etc/shadow" in named_files(str(images / "disk"), "qcow2")
    assert "names it: it is in none of" in objections(images, images / "disk", "qcow2")


def test_external_data_files_and_other_protocols(images: Path) -> None:
    """The other ways in which an image can lead elsewhere."""
    data = f"data_file={images.parent}/data.raw"
    qemu_img("create", "-f", "qcow2", "-o", data, images / "split", "1M")
    qemu_img(
        *("create", "-f", "qcow2", "-u", images / "remote", "-b", "nbd://x/y", "-F", "raw", "1M")
    )
    qemu_img(
        *("create", "-f", "qcow2", "-u", images / "json", "-F", "raw"),
        *("-b", 'json:{"driver":"file","filename":"/etc/shadow"}', "1M"),
    )

    assert "names it: it is in none of" in objections(images, images / "split", "qcow2")
    for name in ("remote", "json"):
        assert "which is no file of this host" in objections(images, images / name, "qcow2")


def test_damaged_headers_do_no_harm(images: Path) -> None:
    """Whatever a guest writes there."""
    for number, junk in enumerate((b"QFI\xfb", b"QFI\xfb" + b"\xff" * 200, os.urandom(300), b"")):
        path = images / str(number)
        path.write_bytes(junk)
        with contextlib.suppress(ValueError):
            assert () == named_files(str(path), "qcow2")


def test_what_cannot_be_looked_at(images: Path) -> None:
    """It is refused, with the reason; a name that is too long, here."""
    problem = PathResolver()(f"{images}/{'x' * 300}", "").problem

    assert "cannot be looked at: File name too long" in problem


@needs_root
def test_an_image_that_we_may_not_read(images: Path) -> None:
    """It is refused, unless the host's configuration trusts it; raw ones need no look."""
    qemu_img("create", "-f", "qcow2", images / "a", "1M")
    images.parent.chmod(0o755)
    (images / "a").chmod(0o600)
    script = (
        "import os, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "from reconvirt.controller.resolve_path import PathResolver\n"
        f"path = {str(images / 'a')!r}\n"
        "print(PathResolver(True)(path, 'qcow2').problem)\n"
        "print(PathResolver(True, True)(path, 'qcow2').problem)\n"
        "print(PathResolver(True)(path, 'raw').problem)\n"
    )
    # With the modules loaded beforehand: nobody may not be able to read them.
    code = f"import reconvirt.controller.resolve_path\n{script}"
    for above in images.parents:
        if not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )

    refused, trusted, raw = done.stdout.splitlines()
    assert "cannot be looked into: Permission denied" in refused
    assert "" == trusted == raw
