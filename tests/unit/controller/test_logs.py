"""Logs as people and as the journal read them."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from reconvirt.controller.config import LogFormat
from reconvirt.controller.logs import configure


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(form: LogFormat, level: str = "info") -> list[str]:
    """What a few calls write."""
    stream = io.StringIO()
    configure(form, stream, level)
    log = structlog.get_logger("test")
    with structlog.contextvars.bound_contextvars(virtual_server="wéb1", reconcile="1a2b"):
        log.info("step done", step="define", changes=["memory: 1 → 2"])
        log.debug("unseen")
    logging.getLogger("library").warning("old %s", "style")
    return stream.getvalue().splitlines()


def test_json_is_one_document_a_line() -> None:
    """With the time, and with whatever was bound around it."""
    first, second = map(json.loads, lines("json"))

    assert ("wéb1", "1a2b", "define") == (
        first["virtual_server"],
        first["reconcile"],
        first["step"],
    )
    assert ["memory: 1 → 2"] == first["changes"]
    assert first["timestamp"].endswith("Z")
    assert ("old style", "warning") == (second["event"], second["level"])


def test_readable_lines_have_no_colour_where_no_terminal_is() -> None:
    """But all the fields."""
    first, second = lines("console")

    assert "\x1b" not in first + second
    assert "step done" in first
    assert "virtual_server=wéb1" in first


def test_the_level_counts() -> None:
    """For libraries as well."""
    assert [] == lines("json", "error")
    assert 3 == len(lines("json", "debug"))


def test_the_journal_gets_priorities_and_its_own_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JOURNAL_STREAM names device and inode of the stream that systemd has opened."""
    path = tmp_path / "journal"
    with path.open("w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        configure("auto", stream, "info")
        log = structlog.get_logger()
        log.error("bad")
        log.info("good")
        try:
            int("why")
        except ValueError:
            log.exception("unexpected")

    first, second, third = path.read_text().splitlines()

    assert first.startswith("<3>{")
    assert second.startswith("<6>{")
    assert "timestamp" not in json.loads(first[3:])
    assert "'why'" in json.loads(third[3:])["exception"][0]["exc_value"]
