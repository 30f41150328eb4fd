"""What is known after a restart: whole files, no change lost, nothing taken for empty."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconvirt.controller.state_store import Document, StateStore, Unreadable
from testbed.lacks import needs_root


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


def test_changes_of_several_documents_may_be_nested(tmp_path: Path) -> None:
    """The lock between processes is one, and knows its own process again."""
    store = StateStore(tmp_path)

    with store.change(Document.HOLDS) as holds, store.change(Document.FENCES) as fences:
        holds["web1"] = {}
        fences["zhost2"] = dict(store.read(Document.HOLDS))

    later = StateStore(tmp_path)
    assert {"web1": {}} == later.read(Document.HOLDS)
    assert {"zhost2": {}} == later.read(Document.FENCES)


def test_what_another_process_has_changed_is_seen(tmp_path: Path) -> None:
    """Also where it was read before, and however fast one change follows the other."""
    ours, theirs = StateStore(tmp_path), StateStore(tmp_path)
    for number in range(50):
        with theirs.change(Document.HOLDS) as entries:
            entries["web1"] = {"reason": f"{number:02}"}

        assert {"web1": {"reason": f"{number:02}"}} == ours.read(Document.HOLDS)


def test_what_has_not_changed_is_not_parsed_again(tmp_path: Path) -> None:
    """It is read before each call."""
    with StateStore(tmp_path).change(Document.HOLDS) as entries:
        entries["web1"] = {}
    file = tmp_path / Document.HOLDS
    os.utime(file, (1e9, 1e9))
    store = StateStore(tmp_path)

    assert store.read(Document.HOLDS) is store.read(Document.HOLDS)
    file.write_text("{", encoding="utf-8")
    with pytest.raises(Unreadable):
        store.read(Document.HOLDS)


def test_what_cannot_be_read_is_listed(tmp_path: Path) -> None:
    """Until it is repaired."""
    store = StateStore(tmp_path)
    assert () == store.problems()
    (tmp_path / Document.HOLDS).write_text("{", encoding="utf-8")
    (tmp_path / Document.SOURCE).write_text("[]", encoding="utf-8")

    holds, source = store.problems()

    assert f"{tmp_path / Document.HOLDS} cannot be read (" in holds
    assert "it is no JSON object); repair it, or remove it if that is safe" in source
    (tmp_path / Document.HOLDS).write_text("{}", encoding="utf-8")
    (tmp_path / Document.SOURCE).unlink()
    assert () == store.problems()


def test_a_file_that_had_entries_does_not_just_go(tmp_path: Path) -> None:
    """Nothing is written over what may come back; a person says that it counts no more."""
    store, file = StateStore(tmp_path), tmp_path / Document.HOLDS
    with store.change(Document.HOLDS) as entries:
        entries["web1"] = {}
    file.unlink()

    with pytest.raises(Unreadable, match=r"is gone, and had entries .* restore it, or write {}"):
        store.read(Document.HOLDS)
    with pytest.raises(Unreadable), store.change(Document.HOLDS):
        pass
    assert not file.exists()
    file.write_text("{}", encoding="utf-8")
    assert {} == store.read(Document.HOLDS)
    file.unlink()
    assert {} == store.read(Document.HOLDS)


def test_what_cannot_be_read_may_be_removed(tmp_path: Path) -> None:
    """As the message says, also where it had entries before."""
    store, file = StateStore(tmp_path), tmp_path / Document.HOLDS
    with store.change(Document.HOLDS) as entries:
        entries["web1"] = {}
    file.write_text("{", encoding="utf-8")
    with pytest.raises(Unreadable):
        store.read(Document.HOLDS)

    file.unlink()

    assert {} == store.read(Document.HOLDS)


def test_a_virtual_server_may_be_called_version(tmp_path: Path) -> None:
    """In a file of names alone."""
    (tmp_path / Document.HOLDS).write_text('{"version": {"reason": "x"}}', encoding="utf-8")

    assert {"version": {"reason": "x"}} == StateStore(tmp_path).read(Document.HOLDS)


@needs_root
def test_what_root_has_written_belongs_to_the_daemon(tmp_path: Path) -> None:
    """Its user can read what a command of root's has stored, and lock as well."""
    os.chown(tmp_path, 65534, 65534)

    with StateStore(tmp_path).change(Document.HOLDS) as entries:
        entries["web1"] = {}

    for name in (Document.HOLDS, "state.lock"):
        found = (tmp_path / name).stat()
        assert (65534, 65534, 0o600) == (found.st_uid, found.st_gid, found.st_mode & 0o777)
