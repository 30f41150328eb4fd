"""Who uses which storage: by device number, by inode, and by QEMU's locks on images."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconvirt.hypervisor.examine import examine
from reconvirt.hypervisor.storage_use import ActiveDomain, StorageUse, read_chains

OWN, OTHER = "1" * 36, "2" * 36


def disk(path: str | Path, more: str = "", *, kind: str = "file", form: str = "raw") -> str:
    name = "dev" if kind == "block" else "file"
    return (
        f"<disk type='{kind}' device='disk'><driver name='qemu' type='{form}'/>"
        f"<source {name}='{path}'/><target dev='vda' bus='virtio'/>{more}</disk>"
    )


def domain(*disks: str, more: str = "") -> str:
    return f"<domain>{more}<devices>{''.join(disks)}</devices></domain>"


def conflicts(
    mine: str,
    theirs: Mapping[str, str] | None = None,
    use: StorageUse | None = None,
    *,
    local: bool = True,
) -> tuple[str, ...]:
    """What stands against opening some storage, while these run (by uuid)."""
    running = theirs or {}
    active = [ActiveDomain(uuid, f"vs-{uuid[0]}", 1) for uuid in running]
    found = use or StorageUse(local=local)
    return found.conflicts(OWN, mine, lambda: active, lambda each: running[each.uuid])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.img"
    path.write_bytes(b"\0" * 65536)
    return path


class TestRunningOnes:
    def test_one_file_by_its_path(self, image: Path) -> None:
        [said] = conflicts(domain(disk(image)), {OTHER: domain(disk(image))})

        assert f"{image} (vda)" in said
        assert "vs-2" in said
        assert "has it open for writing (its vda)" in said

    @pytest.mark.parametrize("how", ["symlink", "link"])
    def test_one_file_by_another_name(self, image: Path, how: str) -> None:
        """A link to it is it."""
        other = image.with_name("b.img")
        other.symlink_to(image) if how == "symlink" else os.link(image, other)

        assert 1 == len(conflicts(domain(disk(other)), {OTHER: domain(disk(image))}))
        assert 1 == len(conflicts(disk(image), {OTHER: domain(disk(other))}))

    def test_another_file_of_the_same_content(self, image: Path) -> None:
        other = Path(shutil.copy(image, image.with_name("b.img")))

        assert () == conflicts(domain(disk(other)), {OTHER: domain(disk(image))})

    def test_its_own(self, image: Path) -> None:
        """The virtual server itself may have it, as one that is to be restarted has."""
        assert () == conflicts(domain(disk(image)), {OWN: domain(disk(image))})

    @pytest.mark.parametrize(
        ("mine", "theirs"),
        [
            ("<shareable/>", "<shareable/>"),
            ("<readonly/>", ""),
            ("<readonly/>", "<readonly/>"),
        ],
    )
    def test_what_may_be_shared(self, image: Path, mine: str, theirs: str) -> None:
        running = {OTHER: domain(disk(image, theirs))}

        assert () == conflicts(domain(disk(image, mine)), running)

    @pytest.mark.parametrize("theirs", ["<shareable/>", "<readonly/>"])
    def test_what_is_to_be_written_to_alone(self, image: Path, theirs: str) -> None:
        assert 1 == len(conflicts(domain(disk(image)), {OTHER: domain(disk(image, theirs))}))

    def test_a_base_that_another_one_writes_to(self, image: Path) -> None:
        """Its content below the overlay would change."""
        overlay = image.with_name("overlay")
        make_overlay(overlay, image)

        [said] = conflicts(domain(disk(overlay, form="qcow2")), {OTHER: domain(disk(image))})

        assert (
            "below the image that is to be opened, and vs-2, which runs on this host, writes to it"
            in said
        )

    def test_the_base_of_another_one_is_not_written_to(self, image: Path) -> None:
        below = f"<backingStore type='file'><format type='raw'/><source file='{image}'/>"
        running = {OTHER: domain(disk("/images/overlay", f"{below}</backingStore>"))}

        [said] = conflicts(domain(disk(image)), running)

        assert "as the base of its own image" in said

    def test_two_overlays_of_one_base(self, image: Path) -> None:
        """As all clones of a template are."""
        overlay = image.with_name("overlay")
        make_overlay(overlay, image)
        below = f"<backingStore type='file'><format type='raw'/><source file='{image}'/>"
        running = {OTHER: domain(disk("/images/overlay", f"{below}</backingStore>"))}

        assert () == conflicts(domain(disk(overlay, form="qcow2")), running)

    def test_what_a_block_copy_writes_to(self, image: Path) -> None:
        mirror = f"<mirror type='file' job='copy'><source file='{image}'/></mirror>"

        assert 1 == len(conflicts(domain(disk(image)), {OTHER: domain(disk("/x", mirror))}))

    def test_firmware_variables(self, image: Path) -> None:
        both = domain(more=f"<os><nvram>{image}</nvram></os>")

        assert 1 == len(conflicts(both, {OTHER: both}))

    def test_a_volume_is_the_file_that_it_is(self, image: Path) -> None:
        volume = "<disk type='volume'><source pool='p' volume='a'/><target dev='vdb'/></disk>"
        use = StorageUse(local=True, volume_path={"p/a": str(image)}.__getitem__)

        assert 1 == len(conflicts(domain(disk(image)), {OTHER: domain(volume)}, use))

    def test_storage_on_the_network(self) -> None:
        def rbd(name: str) -> str:
            return (
                f"<disk type='network'><source protocol='rbd' name='{name}'><host name='ceph'/>"
                "</source><target dev='vda'/></disk>"
            )

        assert 1 == len(conflicts(domain(rbd("p/a")), {OTHER: domain(rbd("p/a"))}))
        assert () == conflicts(domain(rbd("p/a")), {OTHER: domain(rbd("p/b"))})

    def test_what_is_to_be_made_by_its_path(self, tmp_path: Path) -> None:
        path = tmp_path / "new"

        assert 1 == len(conflicts(disk(tmp_path / "x" / ".." / "new"), {OTHER: domain(disk(path))}))

    def test_at_another_host_by_the_path(self, image: Path) -> None:
        """We see none of its files."""
        other = image.with_name("b.img")
        other.symlink_to(image)

        assert 1 == len(conflicts(disk(image), {OTHER: domain(disk(image))}, local=False))
        assert () == conflicts(disk(other), {OTHER: domain(disk(image))}, local=False)

    def test_one_that_does_not_answer_has_what_it_had(self, image: Path) -> None:
        """A QEMU that hangs still writes to what it has open."""
        use = StorageUse(local=True)
        running = {OTHER: domain(disk(image))}
        conflicts(domain(disk(image)), running, use)

        def ask(number: int) -> tuple[str, ...]:
            active = [ActiveDomain(OTHER, "vs-2", number)]
            return use.conflicts(OWN, domain(disk(image)), lambda: active, lambda _each: None)

        assert 1 == len(ask(1))
        assert () == ask(2), "it was started anew, and its storage is not known"


class TestClaims:
    """Two that are started at one time: libvirt shows neither of them yet."""

    def ask(self, use: StorageUse, uuid: str, image: Path, *, claim: bool) -> tuple[str, ...]:
        xml = domain(disk(image))
        return use.conflicts(uuid, xml, tuple, lambda _each: None, claim=claim)

    def test_the_second_one_is_refused_until_the_first_one_is_there(self, image: Path) -> None:
        use, link = StorageUse(local=True), image.with_name("link")
        link.symlink_to(image)

        first = self.ask(use, OWN, image, claim=True)
        again = self.ask(use, OWN, image, claim=True)
        [second] = self.ask(use, OTHER, link, claim=True)
        use.release(OWN)
        third = self.ask(use, OTHER, link, claim=True)

        assert ((), ()) == (first, again)
        assert f"{OWN}, which is being started," in second
        assert () == third

    def test_a_plan_claims_nothing(self, image: Path) -> None:
        use = StorageUse(local=True)

        assert () == self.ask(use, OWN, image, claim=False)
        assert () == self.ask(use, OTHER, image, claim=True)

    def test_one_that_was_refused_claims_nothing(self, image: Path) -> None:
        use = StorageUse(local=True)
        self.ask(use, OWN, image, claim=True)
        self.ask(use, OTHER, image, claim=True)
        use.release(OWN)

        assert () == self.ask(use, "3" * 36, image, claim=True)


def make_overlay(path: Path, base: Path) -> None:
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", path], check=True
    )


@contextmanager
def opened(path: Path, *options: str) -> Iterator[None]:
    """A QEMU program has an image open."""
    command = ["qemu-io", "-f", "raw", *options, path]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("length\n")
    process.stdin.flush()
    for line in process.stdout:
        if "KiB" in line:
            break
    try:
        yield
    finally:
        process.communicate("quit\n", timeout=60)


class TestLocks:
    """Of a process that libvirt knows nothing of."""

    def test_one_that_writes(self, image: Path) -> None:
        with opened(image):
            [said] = conflicts(domain(disk(image)))
        assert "another process on this host has it open for writing" in said
        assert f"fuser -v {image}" in said
        assert () == conflicts(domain(disk(image)))

    def test_one_that_reads(self, image: Path) -> None:
        """And does not let others write, as a QEMU whose base it is: it holds this byte."""
        lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 201, 1, 0)
        with image.open("rb") as file:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
            [said] = conflicts(disk(image))
        assert "lets nothing write to it" in said

    def test_one_that_lets_others_write(self, image: Path) -> None:
        with opened(image, "-r", "-U"):
            assert () == conflicts(domain(disk(image)))

    def test_one_that_writes_to_the_base(self, image: Path) -> None:
        overlay = image.with_name("overlay")
        make_overlay(overlay, image)

        with opened(image):
            assert 1 == len(conflicts(domain(disk(overlay, form="qcow2"))))
        with opened(image, "-r"):
            assert () == conflicts(domain(disk(overlay, form="qcow2")))

    def test_its_own(self, image: Path) -> None:
        """One that is to be restarted holds the lock itself."""
        with opened(image):
            assert () == conflicts(domain(disk(image)), {OWN: domain(disk(image))})

    def test_what_may_be_shared(self, image: Path) -> None:
        with opened(image):
            assert () == conflicts(domain(disk(image, "<shareable/>")))


class TestChains:
    def test_the_files_below_an_image(self, image: Path) -> None:
        """And the stated path, if it is one of them under another name."""
        first, second = image.with_name("first"), image.with_name("second")
        make_overlay(first, image)
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "first", "-F", "qcow2", second],
            check=True,
        )
        link = image.with_name("link")
        link.symlink_to(image)

        found = read_chains([(str(second), "qcow2", str(link))])

        assert {str(second): (str(first), str(image), str(link))} == found

    def test_a_raw_image_has_none(self, image: Path) -> None:
        """Whatever a guest has written to its beginning."""
        overlay = image.with_name("overlay")
        make_overlay(overlay, image)

        assert {str(overlay): ()} == read_chains([(str(overlay), "raw", "/x")])

    def test_one_that_cannot_be_read(self) -> None:
        assert {"/no": (), "pool/x": ()} == read_chains(
            [("/no", "qcow2", "/x"), ("pool/x", "raw", "/x")]
        )


class TestExamining:
    def test_one_that_hangs_holds_up_no_other(self) -> None:
        """It is not asked again before it has come back."""
        go_on, asked = threading.Event(), []

        def look(path: str) -> str:
            asked.append(path)
            if path == "hung":
                go_on.wait(60)
            return path.upper()

        try:
            first = examine(["a", "hung", "b"], look, 0.3)
            second = examine(["hung", "c"], look, 0.3)
        finally:
            go_on.set()
        deadline = time.monotonic() + 60
        while "hung" not in examine(["hung"], look) and time.monotonic() < deadline:
            time.sleep(0.05)

        assert ({"a": "A", "b": "B"}, {"c": "C"}) == (first, second)
        assert ["a", "hung", "b", "c"] == asked[:4]

    def test_one_that_fails_is_left_out(self) -> None:
        def look(path: str) -> int:
            return Path(path).stat().st_mode

        assert {"/"} == set(examine(["/no/such", "/"], look))
        assert {} == examine([], look)
