"""Images that are made at another host, and which of them may be removed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconvirt.controller.hosts.copies import Copies
from reconvirt.controller.state_store import StateStore
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
        self.files = dict.fromkeys(files, "")
        self.meanwhile = meanwhile

    def image_is_there(self, path: str) -> bool:
        return path in self.files

    def make_image(self, image: CopiedImage, _size_bytes: int, token: str) -> bool:
        self.meanwhile(image.path)
        if image.path in self.files:
            return False
        self.files[image.path] = token
        return True

    def clear_raw_token(self, path: str, token: str) -> None:
        assert self.files[path] == token
        self.files[path] = ""

    def remove_image(self, path: str, token: str) -> str:
        if self.files.get(path, token) != token or not token:
            return "it is another one"
        self.files.pop(path, None)
        return ""


def test_all_are_made_and_removed_again(tmp_path: Path) -> None:
    """As long as they are nobody's."""
    host, copies = Host("/srv/other"), Copies(StateStore(tmp_path))

    assert "" == copies.make(host, UUID, "b", IMAGES)
    assert ["/srv/a", "/srv/b", "/srv/c"] == list(copies.made(UUID, "b"))
    assert () == copies.remove(host, UUID, "b")

    assert {"/srv/other"} == host.files.keys()
    assert {} == copies.made(UUID, "b")


def test_where_something_stands_nothing_is_made(tmp_path: Path) -> None:
    """All are looked for before the first is made."""
    host, copies = Host("/srv/c"), Copies(StateStore(tmp_path))

    assert "/srv/c" == copies.make(host, UUID, "b", IMAGES)
    assert ({"/srv/c": ""}, {}) == (host.files, copies.made(UUID, "b"))


def test_what_comes_meanwhile_is_not_ours(tmp_path: Path) -> None:
    """It stays when the rest is removed."""
    host, copies = Host(), Copies(StateStore(tmp_path))
    host.meanwhile = lambda path: host.files.update({"/srv/b": ""} if path == "/srv/b" else {})

    assert "/srv/b" == copies.make(host, UUID, "b", IMAGES)
    copies.remove(host, UUID, "b")

    assert {"/srv/b"} == host.files.keys()


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
            assert ["/srv/a", "/srv/b"] == list(Copies(StateStore(tmp_path)).made(UUID, "b"))
            raise error

    with pytest.raises(type(error)):
        copies.make(Host(meanwhile=fail), UUID, "b", IMAGES)

    assert list(made) == list(Copies(StateStore(tmp_path)).made(UUID, "b"))


def test_what_somebody_puts_at_the_path_is_not_removed(tmp_path: Path) -> None:
    """After a sudden end before it was made; it is said where it is."""
    copies, host = Copies(StateStore(tmp_path)), Host()
    copies.note(UUID, "b", {"/srv/a": "token"})
    host.files["/srv/a"] = "somebody else's"

    left = copies.remove(host, UUID, "b")

    assert ("/srv/a is left at b: it is another one",) == left
    assert {"/srv/a": "somebody else's"} == host.files
    assert {} == copies.made(UUID, "b")


def test_a_raw_image_is_not_known_again_once_it_is_filled(tmp_path: Path) -> None:
    """Its content is its guest's from there on; it is left, and a qcow2 one is removed."""
    copies, host = Copies(StateStore(tmp_path)), Host()
    images = [CopiedImage("/srv/a", "raw"), CopiedImage("/srv/b", "qcow2")]
    copies.make(host, UUID, "b", [(each, 1 << 20) for each in images])

    copies.fill(host, UUID, "b", images)
    left = copies.remove(host, UUID, "b")

    assert ["/srv/a"] == [each.partition(" ")[0] for each in left]
    assert {"/srv/a": ""} == host.files


def test_images_of_an_earlier_release_are_left(tmp_path: Path) -> None:
    """Nothing was written into them."""
    (tmp_path / "copies.json").write_text(f'{{"{UUID} b": ["/srv/a"]}}', encoding="utf-8")
    copies, host = Copies(StateStore(tmp_path)), Host("/srv/a")

    assert 1 == len(copies.remove(host, UUID, "b"))
    assert {"/srv/a"} == host.files.keys()


def test_they_are_kept_by_virtual_server_and_host(tmp_path: Path) -> None:
    """Until they are nobody's to remove."""
    Copies(StateStore(tmp_path)).note(UUID, "b", {"/srv/a": "token"})

    again = Copies(StateStore(tmp_path))
    assert ({"/srv/a": "token"}, {}) == (again.made(UUID, "b"), again.made(UUID, "c"))
    again.arrived(UUID)
    assert {} == Copies(StateStore(tmp_path)).made(UUID, "b")
