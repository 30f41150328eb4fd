"""The wheel, built from the source distribution, as pipx installs it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from testbed.guest import REPOSITORY

CARRIED = (
    "reconvirt/py.typed",
    "reconvirt/schemas/reconvirt-v1.schema.json",
    "reconvirt/schemas/reconvirt-config-v1.schema.json",
    "reconvirt/cli/reconvirtd.md",
    "share/reconvirt/systemd/reconvirtd.service",
    "share/reconvirt/systemd/reconvirt-sync.timer",
    "share/reconvirt/systemd/examples/images.conf",
    "share/reconvirt/sysusers.d/reconvirt.conf",
    "share/reconvirt/tmpfiles.d/reconvirt.conf",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git knows: nothing is left in the tree."""
    work = tmp_path_factory.mktemp("package")
    source = work / "source"
    source.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    ).stdout
    archive = subprocess.Popen(
        ["tar", "--create", "--null", "--files-from=-"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    packed, _ = archive.communicate(listed)
    subprocess.run(["tar", "--extract", "--directory", source], input=packed, check=True)
    build = [sys.executable, "-m", "build", "--outdir", work / "dist", source]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    (found,) = (work / "dist").glob("*.whl")
    assert list((work / "dist").glob("*.tar.gz"))
    return found


def test_what_it_carries(wheel: Path) -> None:
    """All modules, the schemas, and the units where administrators find them."""
    names = zipfile.ZipFile(wheel).namelist()

    for name in CARRIED:
        assert any(each.endswith(name) for each in names), name
    modules = {
        str(path.relative_to(REPOSITORY / "daemon"))
        for path in (REPOSITORY / "daemon").rglob("*.py")
    }
    assert modules <= set(names)


def test_it_works_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    """From nothing but the wheel and its dependencies."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--no-deps", f"--target={tmp_path}", wheel], check=True)
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "import reconvirt; assert reconvirt.__file__.startswith(sys.path[0])\n"
        "from reconvirt.cli.main import main; main()\n"
    )

    def run(*arguments: str | Path) -> str:
        command = [sys.executable, "-c", code, tmp_path, *arguments]
        return subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout

    assert "good" in run("validate", REPOSITORY / "desired")
    assert "reconvirt, version" in run("--version")
    assert ".TH" in run("manual", "reconvirtd.8")
