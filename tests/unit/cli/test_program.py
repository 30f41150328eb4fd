"""The program as a process: help, exit codes, completion, colour; all without a libvirt."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("reconvirt")
ROOT = Path(__file__).parents[3]
COMMANDS = (
    *("run", "apply", "plan", "validate", "render", "get", "describe", "diff", "why", "events"),
    *("reconcile", "hold", "release", "approve prune", "schema", "completion"),
)


def reconvirt(*arguments: str | Path, status: int = 0, **environment: str) -> str:
    """What the program prints, output and errors together."""
    done = subprocess.run(
        [PROGRAM, *arguments],
        env={"PATH": os.environ["PATH"], "COLUMNS": "100", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert status == done.returncode, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def on_a_terminal(*arguments: str | Path, **environment: str) -> str:
    """What the program prints where a person sits."""
    ours, its = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, *arguments],
        env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", **environment},
        stdout=its,
        stderr=its,
    ) as process:
        os.close(its)
        printed = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not piece:
                break
            printed += piece
        process.wait()
    os.close(ours)
    return printed.decode()


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A manifest with two mistakes."""
    file = tmp_path / "bad.yaml"
    good = (ROOT / "desired" / "web1.yaml").read_text(encoding="utf-8")
    file.write_text(good.replace("memory:", "memroy:").replace("shares: 2048", "shares: 1"))
    return file


def test_help_names_every_command() -> None:
    """And each has help of its own."""
    text = reconvirt("--help")

    for command in COMMANDS:
        assert f"\n  {command.split()[0]} " in text
        assert f"Usage: reconvirt {command}" in reconvirt(*command.split(), "-h")


def test_exit_codes_are_told_where_they_matter() -> None:
    """Scripts depend on them."""
    for command in COMMANDS:
        if command not in ("run", "render", "schema", "completion"):
            assert "Exit codes: 0" in reconvirt(*command.split(), "--help")


def test_version() -> None:
    assert reconvirt("--version").startswith("reconvirt, version ")


@pytest.mark.parametrize(
    "arguments",
    [("no-such-command",), ("plan", "--no-such-option"), ("validate",), ("plan", "-o", "xml")],
)
def test_wrong_usage_exits_with_1(arguments: tuple[str, ...]) -> None:
    """Not with 2, which means changes to those who run plan."""
    assert "Error: " in reconvirt(*arguments, status=1)


def test_the_examples_are_good() -> None:
    assert "4 manifests good\n" == reconvirt("validate", ROOT / "desired")


def test_validate_tells_every_problem_on_a_line_of_its_own(bad: Path) -> None:
    """With file, line, column, field, what is wrong and what is allowed."""
    text = reconvirt("validate", bad, ROOT / "desired" / "db1.yaml", status=1)

    assert f"error {bad}:" in text
    assert "spec.memroy: there is no such key; did you mean memory?; allowed: " in text
    assert "spec.memory" not in text
    assert "spec: memory must be stated" in text
    assert "spec.cputune.shares: 1 is out of range; allowed: 2 to 262144" in text
    assert text.endswith("1 manifest good, 3 problems\n")


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "nowhere"

    assert f"reconvirt: {path}: there is no such" in reconvirt("validate", path, status=1)
    assert f"{path}: there is no such" in reconvirt("plan", "--desired", path, status=1)
    assert f"{path}: there is no such" in reconvirt("plan", "--config", path, status=1)


def test_render_needs_no_libvirt() -> None:
    """A file gives the domains that it leads to."""
    root = ET.fromstring(reconvirt("render", ROOT / "desired" / "web1.yaml"))

    assert ("web1", "2048") == (root.findtext("name"), root.findtext("cputune/shares"))


def test_render_of_a_bad_file(bad: Path) -> None:
    assert "spec.memroy" in reconvirt("render", bad, status=1)


def test_colour_only_where_a_person_sits(bad: Path) -> None:
    """And not with NO_COLOR."""
    assert "\x1b[31m" in on_a_terminal("validate", bad)
    assert "\x1b[31m" not in on_a_terminal("validate", bad, NO_COLOR="1")
    assert "\x1b" not in reconvirt("validate", bad, status=1)


def test_square_brackets_in_manifests_are_no_markup(tmp_path: Path) -> None:
    """What rich would take for a style stands as it is."""
    file = tmp_path / "x.yaml"
    file.write_text("apiVersion: '[red]v9[/]'\n")

    assert '"[red]v9[/]" is not known' in reconvirt("validate", file, status=1)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    assert "_RECONVIRT_COMPLETE" in reconvirt("completion", shell)


def test_commands_options_and_names_are_completed() -> None:
    """Names come from the manifests."""

    def completed(words: str, desired: Path = ROOT / "desired") -> list[str]:
        printed = reconvirt(
            _RECONVIRT_COMPLETE="bash_complete",
            COMP_WORDS=words,
            COMP_CWORD=str(len(words.split(" ")) - 1),
            RECONVIRT_DESIRED=str(desired),
        )
        return [line.partition(",")[2] for line in printed.split()]

    assert {"plan"} == set(completed("reconvirt pl"))
    assert "--timeout" in completed("reconvirt apply --ti")
    assert ["db1"] == completed("reconvirt apply d")
    assert {"web1", "worker1", "worker2"} == set(completed("reconvirt plan w"))
    assert [] == completed("reconvirt plan w", Path("/nowhere"))
