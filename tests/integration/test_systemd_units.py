"""The units, as systemd's own tools judge them; no systemd needs to run."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"


@pytest.mark.parametrize("unit", ["reconvirtd.service", "reconvirt-sync.service"])
def test_exposure(unit: str) -> None:
    """Below 3.0 of 10; systemd-analyze ends with an error from there on."""
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager"]
    done = subprocess.run([*command, UNITS / unit], capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout


def test_the_units_are_understood(tmp_path: Path) -> None:
    """Every setting is known and has a value that systemd takes."""
    for path in UNITS.glob("*.*"):
        text = path.read_text(encoding="utf-8").replace("/usr/bin/reconvirt", "/bin/true")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]
    done = subprocess.run(
        [*command, *sorted(tmp_path.glob("*.*"))], capture_output=True, text=True, check=False
    )

    assert ("", 0) == (done.stderr, done.returncode)


@pytest.mark.parametrize("example", sorted(UNITS.glob("examples/*.conf")), ids=lambda e: e.stem)
def test_the_examples_are_understood(example: Path, tmp_path: Path) -> None:
    """Each says in its first line where it belongs."""
    (place,) = re.findall(r"^# /etc/systemd/system/(\S+)$", example.read_text(), re.MULTILINE)
    text = (UNITS / "reconvirtd.service").read_text().replace("/usr/bin/reconvirt", "/bin/true")
    (tmp_path / "reconvirtd.service").write_text(text, encoding="utf-8")
    (tmp_path / place).parent.mkdir()
    shutil.copy(example, tmp_path / place)
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]
    done = subprocess.run(
        [*command, tmp_path / "reconvirtd.service"], capture_output=True, text=True, check=False
    )

    newer = "notify-reload" in example.stem  # systemd 252 does not know it
    assert newer or ("", 0) == (done.stderr, done.returncode)


def test_guests_never_depend_on_the_daemon() -> None:
    """Nothing is stopped or started with it, and it is ordered after both kinds of libvirt."""
    text = (UNITS / "reconvirtd.service").read_text(encoding="utf-8")

    found = re.findall(
        r"^(Requires|Requisite|BindsTo|PartOf|Conflicts|Before)=", text, re.MULTILINE
    )
    assert [] == found
    order = " ".join(re.findall(r"^After=(.*)$", text, re.MULTILINE)).split()
    for name in ("libvirtd.service", "virtqemud.service", "libvirtd.socket", "virtqemud.socket"):
        assert name in order
