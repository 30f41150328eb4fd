"""The programs that tests run are installed, and their packages are in scripts/setup."""

from __future__ import annotations

import re
import subprocess

import pytest

from testbed.guest import REPOSITORY
from testbed.programs import FILES, PROGRAMS, missing, require


def test_every_program_is_there() -> None:
    """scripts/setup installs the packages."""
    assert {} == missing()


def test_setup_installs_every_package() -> None:
    """On a machine on which nothing was installed by hand."""
    text = (REPOSITORY / "scripts" / "setup").read_text(encoding="utf-8")
    (block,) = re.findall(r"^packages=\(\n(.*?)^\)$", text, re.MULTILINE | re.DOTALL)
    installed = {word for line in block.splitlines() for word in line.partition("#")[0].split()}

    assert set() == ({*PROGRAMS.values(), *FILES.values()} - installed)


def test_a_missing_program_fails_the_test_and_names_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("testbed.programs._PATH", "/nonexistent")
    with pytest.raises(pytest.fail.Exception, match=r"swtpm is missing.*the package swtpm"):
        require("swtpm")


def test_a_program_without_a_package_fails_the_test_that_runs_it() -> None:
    """Also where it is installed, so that setup cannot lack what one machine happened to have."""
    with pytest.raises(pytest.fail.Exception, match="frobnicate has no package"):
        subprocess.run(["frobnicate"], check=False)
