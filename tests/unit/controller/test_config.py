"""The configuration file, and what is said of a wrong one."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from reconvirt.controller.config import Config, ConfigError, load_config

ROOT = Path(__file__).parents[3]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "reconvirt.toml"


def test_what_the_file_and_the_command_line_say(file: Path) -> None:
    """The command line goes first; what neither says is the default."""
    file.write_text('connect = "qemu:///session"\nworkers = 2\nresync_seconds = 60\n')

    config = load_config(file, connect="test:///default", desired=None)

    assert ("test:///default", 2, 60) == (config.connect, config.workers, config.resync_seconds)
    assert Config().desired == config.desired


def test_a_file_that_is_not_named_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual one."""
    monkeypatch.setattr("reconvirt.controller.config.DEFAULT_FILE", Path("/nowhere/x.toml"))

    assert Config() == load_config(None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("workers ==\n", "not TOML: .*line 1"),
        ("conect = 'x'", "conect: there is no such setting; did you mean connect.; allowed: conn"),
        ("workers = 0", "workers: 0 is less than 1"),
        ("workers = true", "workers: True is not a whole number"),
        ("workers = 1.5", "workers: 1.5 is not a whole number"),
        ("resync_seconds = 'x'", "resync_seconds: 'x' is not a number of seconds"),
        ("resync_seconds = nan", "resync_seconds: nan is not a number of seconds"),
        ("log_level = 'loud'", "log_level: 'loud' is none of debug, info, warning, error"),
        ("connect = ''", "connect: '' is not a text"),
        ("desired = 3", "desired: 3 is not a text"),
        ("[section]\nx = 1", "section: there is no such setting"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_setting(file: Path, content: str, words: str) -> None:
    """And with what is allowed."""
    file.write_text(content)

    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}: {words}"):
        load_config(file)


def test_a_named_file_must_be_there_and_be_readable(file: Path) -> None:
    """No guessing."""
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not TOML"):
        load_config(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(file.parent)


def test_the_documentation_names_every_setting_with_its_default() -> None:
    """docs/configuration.md is written by hand."""
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", text, re.MULTILINE))

    defaults = {
        each.name: getattr(Config(), each.name) for each in fields(Config) if each.name != "metrics"
    }

    assert list(defaults) == list(rows)
    for name, default in defaults.items():
        shown = rows[name].strip('"')
        if isinstance(default, bool):
            assert str(default).lower() == shown
            continue
        assert (str(default) if isinstance(default, str | Path) else f"{default:g}") == shown
