"""The directory as a source, on the real file system with its real events."""

from __future__ import annotations

import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconvirt.controller.source.directory import DirectorySource
from reconvirt.manifest.document import MOST_BYTES
from reconvirt.manifest.model import Snapshot
from testbed.waiting import limit

SOON = 5.0
MANIFEST = """apiVersion: reconvirt/v1
kind: VirtualServer
metadata: {{name: {name}}}
spec: {{memory: {memory}, vcpu: 1, os: {{arch: s390x, machine: s390-ccw-virtio}}}}
"""
HOST = """apiVersion: reconvirt/v1
kind: Host
metadata: {name: zhost2}
spec: {uri: "qemu+ssh://zhost2/system"}
"""


def manifest(name: str, memory: str = "1 GiB") -> str:
    """A manifest's text."""
    return MANIFEST.format(name=name, memory=memory)


class Watched:
    """A source that is watched by a thread of its own."""

    def __init__(self, root: Path, **settings: float) -> None:
        self.source = DirectorySource(root, **{"debounce": 0.05, "rescan": 0.5, **settings})
        self.snapshots: queue.Queue[Snapshot] = queue.Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        for snapshot in self.source.watch(self._stop):
            self.snapshots.put(snapshot)

    def next(self) -> Snapshot:
        """The next snapshot."""
        return self.snapshots.get(timeout=limit(SOON))

    def quiet(self, seconds: float = 0.8) -> bool:
        """Whether nothing comes for a while."""
        time.sleep(seconds)
        return self.snapshots.empty()

    def until(self, predicate: Callable[[Snapshot], bool]) -> Snapshot:
        """The first snapshot to come that is so."""
        deadline = time.monotonic() + limit(SOON)
        while time.monotonic() < deadline:
            if predicate(snapshot := self.next()):
                return snapshot
        raise AssertionError("no such snapshot came")

    def end(self) -> float:
        """Stop watching; the seconds that it took."""
        began = time.monotonic()
        self._stop.set()
        self.source.poke()
        self._thread.join(SOON)
        assert not self._thread.is_alive()
        return time.monotonic() - began


Watch = Callable[..., Watched]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "desired"
    directory.mkdir()
    return directory


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Watches directories; all are left again, and no thread stays behind."""
    before = threading.active_count()
    watched: list[Watched] = []

    def start(root: Path, **settings: float) -> Watched:
        watched.append(Watched(root, **settings))
        return watched[-1]

    yield start
    for each in watched:
        assert each.end() < limit(2.0)
    assert before == threading.active_count()


def test_what_is_there_at_first(root: Path, watch: Watch) -> None:
    """Subfolders, both suffixes; not what is hidden, a backup, or something else."""
    (root / "sub" / "deeper").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "a.yaml").write_text(manifest("a"))
    (root / "sub" / "deeper" / "b.yml").write_text(manifest("b"))
    for name in (".hidden.yaml", "c.yaml~", "README.md", ".git/d.yaml", ".e.yaml.swp"):
        (root / name).write_text(manifest("no"))

    snapshot = watch(root).next()

    assert (["a", "b"], ()) == (list(snapshot.manifests), snapshot.problems)


def test_an_empty_directory_is_good(root: Path, watch: Watch) -> None:
    """There is just nothing in it."""
    snapshot = watch(root).next()

    assert ({}, ()) == (dict(snapshot.manifests), snapshot.problems)


@pytest.mark.parametrize("how", ["in place", "rename over", "append", "touch into a new folder"])
def test_an_edit_is_seen_by_event(root: Path, watch: Watch, how: str) -> None:
    """However the editor writes; long before the next look without event."""
    file = root / "a.yaml"
    file.write_text(manifest("a"))
    watched = watch(root, rescan=600.0)
    watched.next()

    if how == "in place":
        file.write_text(manifest("b"))
    elif how == "rename over":
        aside = root / ".a.yaml.new"
        aside.write_text(manifest("b"))
        aside.replace(file)
    elif how == "append":
        with file.open("a") as opened:
            opened.write(f"---\n{manifest('b')}")
    else:
        (root / "new" / "folder").mkdir(parents=True)
        (root / "new" / "folder" / "b.yaml").write_text(manifest("b"))

    watched.until(lambda snapshot: "b" in snapshot.manifests)


def test_many_writes_are_read_together(root: Path, watch: Watch) -> None:
    """A checkout of hundreds of files does not give hundreds of snapshots."""
    watched = watch(root, debounce=0.2)
    watched.next()

    for number in range(300):
        (root / f"{number}.yaml").write_text(manifest(f"vs{number}"))

    watched.until(lambda snapshot: len(snapshot.manifests) == 300)
    assert watched.quiet()


def test_a_file_that_is_written_slowly_is_awaited(root: Path, watch: Watch) -> None:
    """Half a manifest is never taken for the whole while more of it comes."""
    watched = watch(root, debounce=0.3)
    watched.next()
    text = manifest("a", "2 GiB")

    with (root / "a.yaml").open("w") as file:
        for begin in range(0, len(text), 30):
            file.write(text[begin : begin + 30])
            file.flush()
            time.sleep(0.1)

    snapshot = watched.next()
    assert ("2 GiB", ()) == (snapshot.manifests["a"].spec["memory"], snapshot.problems)


def test_reading_and_unrelated_files_make_no_snapshot(root: Path, watch: Watch) -> None:
    """Nor does the source's own reading."""
    file = root / "a.yaml"
    file.write_text(manifest("a"))
    watched = watch(root)
    watched.next()

    file.read_text()
    (root / "notes.txt").write_text("x")
    os.utime(file)

    assert watched.quiet()


def test_a_broken_file_leaves_its_last_good_version(root: Path, watch: Watch) -> None:
    """And is told; another edit puts it right."""
    file = root / "a.yaml"
    file.write_text(manifest("a"))
    watched = watch(root)
    watched.next()

    file.write_text("a: [")
    broken = watched.next()
    file.write_text(manifest("a", "2 GiB"))
    mended = watched.next()

    assert ({"a"}, 1) == (broken.retained, len(broken.problems))
    assert ("2 GiB", ()) == (mended.manifests["a"].spec["memory"], mended.problems)


def test_a_removed_file_is_gone(root: Path, watch: Watch) -> None:
    """It was removed on purpose."""
    (root / "a.yaml").write_text(manifest("a"))
    (root / "b.yaml").write_text(manifest("b"))
    watched = watch(root)
    watched.next()

    (root / "a.yaml").unlink()

    assert ["b"] == list(watched.next().manifests)


def test_a_directory_that_vanishes_takes_no_manifest_with_it(root: Path, watch: Watch) -> None:
    """It may be a file system that is not mounted; when it is back, all goes on."""
    (root / "a.yaml").write_text(manifest("a"))
    watched = watch(root)
    watched.next()

    root.rename(root.with_name("elsewhere"))
    gone = watched.next()
    root.with_name("elsewhere").rename(root)
    back = watched.until(lambda snapshot: not snapshot.problems)
    (root / "b.yaml").write_text(manifest("b"))
    edited = watched.next()

    assert {"a"} == gone.retained
    assert ["a"] == list(back.manifests)
    assert ["a", "b"] == list(edited.manifests)


def test_a_directory_that_vanishes_takes_no_host_with_it(root: Path) -> None:
    """Without them all would be taken for the business of this host."""
    (root / "a.yaml").write_text(manifest("a"))
    (root / "hosts.yaml").write_text(HOST)
    source = DirectorySource(root)
    hosts = source.read().hosts

    root.rename(root.with_name("elsewhere"))
    gone = source.read()

    assert {"zhost2"} == hosts.keys()
    assert ({"a"}, hosts) == (gone.retained, gone.hosts)


def test_a_directory_may_come_later(root: Path, watch: Watch) -> None:
    """Until then there is a problem and no manifest."""
    root.rmdir()
    watched = watch(root)
    missing = watched.next()

    root.mkdir()
    (root / "a.yaml").write_text(manifest("a"))

    assert str(root) == missing.problems[0].position.file
    assert ["a"] == list(watched.until(lambda snapshot: bool(snapshot.manifests)).manifests)


def test_a_link_that_is_turned_is_followed(tmp_path: Path, watch: Watch) -> None:
    """As release directories and git-sync do: all manifests change at one moment."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(manifest(version))
    link = tmp_path / "current"
    link.symlink_to("one")
    watched = watch(link)
    first = watched.next()

    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(link)
    second = watched.next()
    (tmp_path / "two" / "b.yaml").write_text(manifest("b"))

    assert (["one"], ["two"]) == (list(first.manifests), list(second.manifests))
    assert ["b", "two"] == list(watched.next().manifests)


@pytest.mark.parametrize("what", ["fifo", "directory", "huge", "binary", "loop", "outside", "gone"])
def test_what_is_no_manifest_is_told_and_stops_no_other(
    root: Path, tmp_path: Path, watch: Watch, what: str
) -> None:
    """Nothing blocks, and nothing outside the directory is read."""
    (root / "good.yaml").write_text(manifest("good"))
    path = root / "odd.yaml"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "huge":
        with path.open("wb") as file:
            file.truncate(MOST_BYTES * 100)
    elif what == "binary":
        shutil.copy("/bin/true", path)
    elif what == "loop":
        path.symlink_to(path)
    elif what == "outside":
        (tmp_path / "secret").write_text("password")
        path.symlink_to(tmp_path / "secret")
    else:
        path.symlink_to(root / "nowhere.yaml")

    snapshot = watch(root).next()

    assert ["good"] == list(snapshot.manifests)
    # A folder may be called so; it is looked into like any other.
    assert (0 if what == "directory" else 1) == len(snapshot.problems)
    assert "password" not in str(snapshot.problems)


def test_a_link_within_the_directory_is_read(root: Path, watch: Watch) -> None:
    """As in a mounted Kubernetes ConfigMap."""
    (root / "..data").mkdir()
    (root / "..data" / "a.yaml").write_text(manifest("a"))
    (root / "a.yaml").symlink_to("..data/a.yaml")

    assert ["a"] == list(watch(root).next().manifests)


def test_the_time_is_that_of_the_newest_change(root: Path) -> None:
    """Of a file or a directory, a removal included; hidden ones do not count, nor the future."""
    place = root / "site"
    place.mkdir()
    (place / "a.yaml").write_text(manifest("a"))
    (root / ".git").mkdir()
    for path in (place / "a.yaml", place, root):
        os.utime(path, (1000, 1000))
    source = DirectorySource(root)
    assert 1000.0 == source.read().time

    os.utime(place / "a.yaml", (3000, 3000))
    assert 3000.0 == source.read().time

    (place / "a.yaml").unlink()
    # The kernel rounds what it notes to its own tick.
    assert time.time() - 60 < (source.read().time or 0) <= time.time() + 0.1

    os.utime(root, (time.time() + 1000,) * 2)
    assert (source.read().time or 0) <= time.time() + 0.1


def test_a_directory_that_becomes_a_link_or_a_file_of_links_keeps_its_manifests(
    root: Path, tmp_path: Path
) -> None:
    """It is not followed; neither is one that leads nowhere, nor a directory named like a file."""
    for name in ("one", "two"):
        (root / name).mkdir()
        (root / name / f"{name}.yaml").write_text(manifest(name))
    (root / "three.yaml").write_text(manifest("three"))
    source = DirectorySource(root)
    source.read()
    (root / "one").rename(tmp_path / "one")
    (root / "one").symlink_to(tmp_path / "one")
    shutil.rmtree(root / "two")
    (root / "two").symlink_to("nowhere")
    (root / "three.yaml").unlink()
    (root / "three.yaml").mkdir()

    now, fresh = source.read(), DirectorySource(root).read()

    assert {"one", "two", "three"} == set(now.manifests) == set(now.retained)
    assert 3 == len(now.problems)
    assert ({}, (), 3) == (fresh.manifests, fresh.problems, len(fresh.unseen))
