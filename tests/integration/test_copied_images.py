"""Images that are made at another host for a copy, and what is removed there again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconvirt.controller.hosts.copies import Copies
from reconvirt.controller.state_store import StateStore
from reconvirt.domain.migration import CopiedImage
from reconvirt.hypervisor.moving import Host
from testbed import LibvirtHost, SecondHost

Name = Callable[..., str]
UUID = "8f1c6a0e-5d0b-4c36-9d0e-6b0f6c1f2a11"
SIZE = 8 << 20


@pytest.fixture
def there(pair: tuple[LibvirtHost, SecondHost]) -> Iterator[Host]:
    """The libvirt of the second host, as the first one reaches it."""
    connection = Host(pair[1].remote_uri)
    yield connection
    connection.close()


@pytest.fixture
def place(pair: tuple[LibvirtHost, SecondHost]) -> Iterator[Path]:
    """A directory that both hosts have, as they see it."""
    directory = pair[0].images / "copies"
    directory.mkdir()
    yield directory
    for each in directory.iterdir():
        each.unlink()
    directory.rmdir()


def create(path: Path) -> None:
    """What an administrator brings there."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(SIZE)]
    subprocess.run(command, check=True)


def test_what_was_made_is_removed(there: Host, place: Path, tmp_path: Path) -> None:
    """In either format, with a backing file in it or without."""
    copies = Copies(StateStore(tmp_path))
    images = [CopiedImage(str(place / f"vda.{kind}"), kind) for kind in ("qcow2", "raw")]

    assert "" == copies.make(there, UUID, "zhost2", [(each, SIZE) for each in images])
    subprocess.run(["qemu-img", "check", "-q", images[0].path], check=True)
    assert 2 == len(list(place.iterdir()))

    assert () == copies.remove(there, UUID, "zhost2")
    assert [] == list(place.iterdir())


def test_what_an_administrator_brings_meanwhile_is_left(
    there: Host, place: Path, tmp_path: Path
) -> None:
    """Whether the daemon was killed before it had made one, or one has taken its place."""
    copies, killed = Copies(StateStore(tmp_path)), place / "killed.qcow2"
    copies.note(UUID, "zhost2", {str(killed): "token"})
    create(killed)
    replaced = CopiedImage(str(place / "replaced.qcow2"), "qcow2")
    copies.make(there, "other", "zhost2", [(replaced, SIZE)])
    Path(replaced.path).unlink()
    create(Path(replaced.path))

    left = (*copies.remove(there, UUID, "zhost2"), *copies.remove(there, "other", "zhost2"))

    assert 2 == len([each for each in left if "not known to be the one that was made" in each])
    assert {killed, Path(replaced.path)} == set(place.iterdir())


def test_a_raw_image_has_no_token_when_data_comes(there: Host, place: Path, tmp_path: Path) -> None:
    """It reads as zeros again, and is never removed."""
    copies, image = Copies(StateStore(tmp_path)), CopiedImage(str(place / "vda.raw"), "raw")
    copies.make(there, UUID, "zhost2", [(image, SIZE)])

    copies.fill(there, UUID, "zhost2", [image])

    assert not any(Path(image.path).read_bytes())
    assert 1 == len(copies.remove(there, UUID, "zhost2"))
    assert Path(image.path).exists()
