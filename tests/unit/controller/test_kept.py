"""Small things that outlive the daemon."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconvirt.controller.kept import read_kept, write_kept


def test_what_was_kept_is_read(tmp_path: Path) -> None:
    """In a directory that is made for it; nothing else is left beside."""
    file = tmp_path / "state" / "kept.json"
    assert read_kept(file) == {}

    write_kept(file, {"web1": "b"})
    write_kept(file, {"web1": "c"})

    assert read_kept(file) == {"web1": "c"}
    assert [each.name for each in file.parent.iterdir()] == ["kept.json"]


def test_what_cannot_be_read_is_nothing(tmp_path: Path) -> None:
    """And it is told from what was never kept."""
    (tmp_path / "kept.json").write_text("{", encoding="utf-8")

    assert read_kept(tmp_path / "kept.json") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_keeps_is_the_daemons(tmp_path: Path) -> None:
    """Its user can read what a command of root's has kept."""
    os.chown(tmp_path, 65534, 65534)

    write_kept(tmp_path / "kept.json", {})

    kept = (tmp_path / "kept.json").stat()
    assert (kept.st_uid, kept.st_gid, kept.st_mode & 0o777) == (65534, 65534, 0o600)
