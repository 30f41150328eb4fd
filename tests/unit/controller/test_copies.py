"""Images that are made at another host, and which of them may be removed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconvirt.controller.hosts.copies import Copies
from reconvirt.controller.state_store import Document, StateStore
from reconvirt.domain.migration import CopiedImage
from reconvirt.hypervisor.errors import HypervisorDown, HypervisorError, OperationFailed

UUID = "8f1c6a0e-5d0b-4c36-9d0e-6b0f6c1f2a11"
IMAGES = [(CopiedImage(path, "qcow2"), 1 << 30) for path in ("/srv/a", "/srv/b", "/srv/c")]


class Host:
    """Another host, as far as it has files.

    Args:
        files: what stands there.
        meanwhile: called before an image is made.
    """

    def __init__(self, *files: str, meanwhile: Callable[[str], None] = lambda _path: None) -> None:
        self.files = set(files)
        self.meanwhile = meanwhile

    def image_is_there(self, path: str) -> bool:
        return path in self.files

    def make_image(self, image: CopiedImage, _size_bytes: int) -> bool:
        self.meanwhile(image.path)
        if image.path in self.files:
            return False
        self.files.add(image.path)
        return True

    def remove_image(self, path: str) -> bool:
        self.files.discard(path)
        return True


def test_all_are_made_and_removed_again(tmp_path: Path) -> None:
    """As long as they are nobody's."""
    host, copies = Host("/srv/other"), Copies(StateStore(tmp_path))

    assert "" == copies.make(host, UUID, "b", IMAGES)
    assert ("/srv/a", "/srv/b", "/srv/c") == copies.made(UUID, "b")
    copies.remove(host, UUID, "b")

    assert {"/srv/other"} == host.files
    assert () == copies.made(UUID, "b")


def test_where_something_stands_nothing_is_made(tmp_path: Path) -> None:
    """All are looked for before the first is made."""
    host, copies = Host("/srv/c"), Copies(StateStore(tmp_path))

    assert "/srv/c" == copies.make(host, UUID, "b", IMAGES)
    assert ({"/srv/c"}, ()) == (host.files, copies.made(UUID, "b"))


def test_what_comes_meanwhile_is_not_ours(tmp_path: Path) -> None:
    """It stays when the rest is removed."""
    host, copies = Host(), Copies(StateStore(tmp_path))
    host.meanwhile = lambda path: host.files.add("/srv/b") if path == "/srv/b" else None

    assert "/srv/b" == copies.make(host, UUID, "b", IMAGES)
    copies.remove(host, UUID, "b")

    assert {"/srv/b"} == host.files


@pytest.mark.parametrize(
    ("error", "made"),
    [
        (OperationFailed("no space left"), ("/srv/a",)),
        (HypervisorDown("the connection is lost"), ("/srv/a", "/srv/b")),
    ],
)
def test_what_could_not_be_made_is_not_ours(
    tmp_path: Path, error: HypervisorError, made: tuple[str, ...]
) -> None:
    """A person may put it there then; only where nobody knows it counts as made."""
    copies = Copies(StateStore(tmp_path))

    def fail(path: str) -> None:
        if path == "/srv/b":
            assert ("/srv/a", "/srv/b") == Copies(StateStore(tmp_path)).made(UUID, "b")
            raise error

    with pytest.raises(type(error)):
        copies.make(Host(meanwhile=fail), UUID, "b", IMAGES)

    assert made == Copies(StateStore(tmp_path)).made(UUID, "b")


def test_where_it_cannot_be_read_nothing_is_removed(tmp_path: Path) -> None:
    """And nothing more is made."""
    host, copies = Host(), Copies(StateStore(tmp_path))
    copies.make(host, UUID, "b", IMAGES[:1])
    (tmp_path / Document.COPIED_IMAGES).write_text("{", encoding="utf-8")

    copies.remove(host, UUID, "b")
    copies.arrived(UUID)
    with pytest.raises(OSError, match="cannot be read"):
        copies.make(host, UUID, "b", IMAGES[1:])

    assert {"/srv/a"} == host.files
