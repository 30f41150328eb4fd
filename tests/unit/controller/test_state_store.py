"""What is known after a restart: whole files, no change lost, nothing taken for empty."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconvirt.controller.state_store import Document, StateStore, Unreadable


def test_no_change_of_several_threads_is_lost(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    barrier = threading.Barrier(8)

    def add(number: int) -> None:
        barrier.wait()
        with store.change(Document.HOLDS) as entries:
            entries[str(number)] = {}

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(StateStore(tmp_path).read(Document.HOLDS)) == 8


def test_no_change_of_several_processes_is_lost(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from reconvirt.controller.state_store import Document, StateStore\n"
        "with StateStore(pathlib.Path(sys.argv[1])).change(Document.HOLDS) as entries:\n"
        "    entries[sys.argv[2]] = {}\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path, str(each)]) for each in range(6)
    ]
    assert [each.wait() for each in processes] == [0] * 6

    assert len(StateStore(tmp_path).read(Document.HOLDS)) == 6


def test_a_file_of_an_earlier_version_is_read_and_written_anew(tmp_path: Path) -> None:
    file = tmp_path / Document.HOLDS
    file.write_text('{"web1": {"reason": "x"}}')
    store = StateStore(tmp_path)

    assert store.read(Document.HOLDS) == {"web1": {"reason": "x"}}
    with store.change(Document.HOLDS) as entries:
        entries["web2"] = {}

    assert json.loads(file.read_text()) == {
        "version": 1,
        "entries": {"web1": {"reason": "x"}, "web2": {}},
    }


@pytest.mark.parametrize(
    "text", ["{broken", "[]", '{"version": 99, "entries": {}}', '{"version": 1}', "\xff"]
)
def test_what_cannot_be_read_is_never_empty_and_stays_as_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / Document.FENCES
    file.write_bytes(text.encode("latin-1"))
    store = StateStore(tmp_path)

    with pytest.raises(Unreadable, match=str(file)):
        store.read(Document.FENCES)
    with pytest.raises(Unreadable), store.change(Document.FENCES) as entries:
        entries["zhost2"] = {}

    assert file.read_bytes() == text.encode("latin-1")


def test_a_block_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = StateStore(tmp_path)

    def fail() -> None:
        with store.change(Document.HOLDS) as entries:
            entries["web1"] = {}
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert store.read(Document.HOLDS) == {}
    assert list(tmp_path.glob("*.json")) == []


def test_without_a_directory_it_lives_as_long_as_the_object(tmp_path: Path) -> None:
    store = StateStore()
    with store.change(Document.HOLDS) as entries:
        entries["web1"] = {}

    assert store.read(Document.HOLDS) == {"web1": {}}
    assert StateStore().read(Document.HOLDS) == {}
    assert list(tmp_path.iterdir()) == []
