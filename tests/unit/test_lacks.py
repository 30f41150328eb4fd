"""Skips: only for what a machine lacks by its nature, counted at the end of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest
from testbed.lacks import Lack, skip

@pytest.mark.parametrize("number", range(3))
def test_without_kvm(number):
    skip(Lack.KVM)

@pytest.mark.skipif(True, reason=Lack.OPT_IN)
def test_on_request():
    raise AssertionError

def test_that_lacks_a_program():
    pytest.skip("frobnicate is not installed")

@pytest.mark.xfail(reason="it is known")
def test_that_is_known_to_fail():
    raise AssertionError
"""


def test_skips_of_a_run(tmp_path: Path) -> None:
    """Any other reason is a failure."""
    test = tmp_path / "test_skips.py"
    test.write_text(TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "conftest"]
    done = subprocess.run(
        [*command, "--rootdir", tmp_path, test],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == done.returncode
    assert "1 failed, 4 skipped, 1 xfailed" in done.stdout
    assert "tests skipped for what this machine lacks" in done.stdout
    assert "   3 QEMU cannot use KVM on this machine\n   1 takes minutes to build" in done.stdout
    assert "skipped, but not for what this machine lacks by its nature: frobnicate" in done.stdout
