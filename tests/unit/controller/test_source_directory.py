"""The source of manifests outlives whatever is in its directory."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconvirt.controller.source.directory import DirectorySource
from reconvirt.controller.source.tree import read_paths
from reconvirt.manifest.load import load_file
from reconvirt.manifest.model import SourceFile

GOOD = """\
apiVersion: reconvirt/v1
kind: VirtualServer
metadata: {name: web1}
spec: {memory: 1 GiB, vcpu: 1, os: {arch: s390x, machine: s390-ccw-virtio}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "desired"
    made.mkdir()
    (made / "web1.yaml").write_text(GOOD)
    yield made
    # Python cannot remove what it cannot go down to.
    subprocess.run(["/bin/rm", "-rf", made], check=True)


def _becomes_a_link_to_itself(root: Path) -> None:
    root.rename(root.with_name("kept"))
    root.symlink_to(root)


def _is_gone(root: Path) -> None:
    root.rename(root.with_name("kept"))


def _becomes_a_file(root: Path) -> None:
    root.rename(root.with_name("kept"))
    root.write_text("x")


def _has_a_name_that_is_not_utf_8(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.yaml")).write_bytes(b"{")


def _has_a_folder_that_is_not_utf_8(root: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(root) + b"/\xff"))
    folder.mkdir()
    (folder / "a.yaml").write_bytes(b"{")


def _has_a_name_with_a_line_break(root: Path) -> None:
    (root / "a\nb.yaml").write_bytes(b"{")


def _has_a_link_to_itself(root: Path) -> None:
    (root / "l.yaml").symlink_to(root / "l.yaml")


def _has_a_link_to_nothing(root: Path) -> None:
    (root / "l.yaml").symlink_to("/nothing/there")


def _has_a_pipe(root: Path) -> None:
    os.mkfifo(root / "p.yaml")


def _is_deeper_than_python_can_go_down(root: Path) -> None:
    here = os.open(root, os.O_RDONLY)
    try:
        for _ in range(1500):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        bottom = os.open("x.yaml", os.O_WRONLY | os.O_CREAT, dir_fd=here)
        os.write(bottom, b"{")
        os.close(bottom)
    finally:
        os.close(here)


@pytest.mark.parametrize(
    "change",
    [
        _becomes_a_link_to_itself,
        _is_gone,
        _becomes_a_file,
        _has_a_name_that_is_not_utf_8,
        _has_a_folder_that_is_not_utf_8,
        _has_a_name_with_a_line_break,
        _has_a_link_to_itself,
        _has_a_link_to_nothing,
        _has_a_pipe,
        _is_deeper_than_python_can_go_down,
    ],
)
def test_what_cannot_be_read_is_a_problem_that_can_be_printed(
    root: Path, change: Callable[[Path], None]
) -> None:
    """The good manifest stays in force; nothing raises, and no output fails."""
    source = DirectorySource(root)
    assert ["web1"] == list(source.read().manifests)
    change(root)

    snapshot = source.read()

    assert ["web1"] == list(snapshot.manifests)
    assert snapshot.problems
    for problem in snapshot.problems:
        assert str(problem).isprintable()
        json.dumps(problem.position.file, ensure_ascii=False).encode()


def test_it_is_read_again_when_it_is_a_directory_again(root: Path) -> None:
    source, stop = DirectorySource(root, debounce=0.01, rescan=0.05), threading.Event()
    snapshots = source.watch(stop)
    assert not next(snapshots).problems
    _becomes_a_link_to_itself(root)
    source.poke()
    assert "its links lead round in a circle" in str(next(snapshots).problems[0])
    root.unlink()
    root.with_name("kept").rename(root)
    source.poke()
    assert not next(snapshots).problems
    stop.set()


def test_whoever_failed_with_a_snapshot_gets_it_once_more(root: Path) -> None:
    """The thread that follows the source is started again, and must not miss what has changed."""
    source, stop = DirectorySource(root), threading.Event()
    first = next(source.watch(stop))
    assert first == next(source.watch(stop))


def test_a_path_of_the_command_line_that_leads_round_in_a_circle(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    (found,) = read_paths([loop / "x.yaml"])
    assert "its links lead round in a circle" in found.problem


def test_an_error_that_nobody_foresaw_is_a_problem_of_its_file_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_file: str, _content: bytes) -> None:
        raise ValueError("not foreseen")

    monkeypatch.setattr("reconvirt.manifest.load.read_documents", fail)
    result = load_file(SourceFile("x.yaml", b"{}"))
    assert "x.yaml:1:1: unexpected error, please report it: ValueError('not foreseen')" == str(
        result.problems[0]
    )
