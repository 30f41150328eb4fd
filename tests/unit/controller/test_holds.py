"""Holds outlive the daemon, and a file that cannot be read is not overwritten unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconvirt.controller.holds import Hold, Holds

HOLD = Hold("maintenance", "anna", 1000.0)


def test_a_hold_is_there_after_a_restart(tmp_path: Path) -> None:
    """Who, why and since when are kept."""
    Holds(tmp_path / "state" / "holds.json").add("web1", HOLD)

    again = Holds(tmp_path / "state" / "holds.json")

    assert HOLD == again.get("web1")
    assert again.release("web1")
    assert not again.release("web1")
    assert {} == Holds(tmp_path / "state" / "holds.json").all()
    assert ["holds.json"] == [each.name for each in (tmp_path / "state").iterdir()]


def test_a_file_that_is_broken_stays_and_holds_all(tmp_path: Path) -> None:
    """Nobody knows who was to be left alone: it is told, and nothing is lost."""
    file = tmp_path / "holds.json"
    file.write_text('{"web1": {"reason": ')
    holds = Holds(file)

    assert f"mend or remove {file}" in str(holds.get("web2"))
    assert {} == holds.all()
    with pytest.raises(OSError, match="nobody knows who is held"):
        holds.add("web1", Hold("mine", "ann", 1.0))
    with pytest.raises(OSError, match="nobody knows who is held"):
        holds.release("web1")
    assert '{"web1": {"reason": ' == file.read_text()
