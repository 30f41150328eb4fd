"""The wheel, built from the source distribution; pipx and pre-commit install it."""

from __future__ import annotations

import os
import re
import shutil
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
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git knows: nothing is left in the tree."""
    source = tmp_path_factory.mktemp("package") / "source"
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
    return source


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """Built from the copy."""
    dist = source.with_name("dist")
    build = [sys.executable, "-m", "build", "--outdir", dist, source]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    (found,) = dist.glob("*.whl")
    assert list(dist.glob("*.tar.gz"))
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


def test_the_debian_package_fits_every_architecture(tmp_path: Path) -> None:
    """Nothing in it is compiled, and the same source gives the same file."""

    def build(name: str) -> Path:
        command = [REPOSITORY / "scripts" / "build-deb", tmp_path / name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return Path(done.stdout.strip())

    first, second = build("first"), build("second")

    assert first.read_bytes() == second.read_bytes()
    field = ["dpkg-deb", "--field", first, "Architecture"]
    assert "all\n" == subprocess.run(field, capture_output=True, text=True, check=True).stdout
    names = subprocess.run(
        ["dpkg-deb", "--contents", first], capture_output=True, text=True, check=True
    ).stdout
    assert "/usr/lib/reconvirt/reconvirt/cli/main.py" in names
    assert not re.search(r"\.(so|a|pyd|pyc)$", names, re.MULTILINE)


@pytest.mark.timeout(900)
def test_pipx_installs_it(wheel: Path, tmp_path: Path) -> None:
    """Commands, manual, schemas and units are there, and gone after it is uninstalled."""
    homes = {
        "PIPX_HOME": str(tmp_path / "home"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "PIPX_MAN_DIR": str(tmp_path / "man"),
    }

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command,
            cwd="/",
            env={**os.environ, **homes},
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    pipx = (sys.executable, "-m", "pipx")
    run(*pipx, "install", "--python", sys.executable, wheel)
    program = tmp_path / "bin" / "reconvirt"

    assert "reconvirt, version" in run(program, "--version")
    assert "good" in run(program, "validate", REPOSITORY / "desired")
    assert "good" in run(program, "config", "check", REPOSITORY / "deploy/debian/reconvirt.toml")
    assert (REPOSITORY / "schemas/reconvirt-v1.schema.json").read_text() == run(program, "schema")
    assert ".TH" in run(program, "manual", "reconvirt.1")
    assert "complete" in run(program, "completion", "bash")
    environments = Path(run(*pipx, "environment", "--value", "PIPX_LOCAL_VENVS").strip())
    shared = environments / "reconvirt" / "share" / "reconvirt"
    unit = shared / "systemd" / "reconvirtd.service"
    assert unit.read_bytes() == (REPOSITORY / "deploy/systemd/reconvirtd.service").read_bytes()
    assert (shared / "sysusers.d" / "reconvirt.conf").exists()
    run(*pipx, "uninstall", "reconvirt")
    assert not program.exists()
    assert not shared.exists()


@pytest.mark.timeout(900)
def test_the_hook_of_pre_commit(source: Path, tmp_path: Path) -> None:
    """In a repository of manifests, as docs/ci.md has it: good ones pass, bad ones do not."""
    hooks, manifests = tmp_path / "hooks", tmp_path / "manifests"
    shutil.copytree(source, hooks)

    def run(*command: str | Path, where: Path = manifests) -> subprocess.CompletedProcess[str]:
        names = {
            f"GIT_{who}_{what}": "ann@example.com"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        own = {"PRE_COMMIT_HOME": str(tmp_path / "cache"), "GIT_CONFIG_GLOBAL": "/dev/null"}
        return subprocess.run(
            command,
            cwd=where,
            env={**os.environ, **names, **own},
            capture_output=True,
            text=True,
            check=False,
        )

    for each in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["commit", "--quiet", "-m", "a release"],
        ["tag", "v0.1.0"],
    ):
        assert 0 == run("git", *each, where=hooks).returncode
    text = (REPOSITORY / "docs" / "ci.md").read_text(encoding="utf-8")
    (config,) = re.findall(
        r"^# \.pre-commit-config\.yaml$.*?(?=^```$)", text, re.MULTILINE | re.DOTALL
    )
    (manifests / "desired").mkdir(parents=True)
    file = config.replace("https://git.example.com/reconvirt.git", str(hooks))
    assert str(hooks) in file
    (manifests / ".pre-commit-config.yaml").write_text(file)
    shutil.copy(REPOSITORY / "desired" / "web1.yaml", manifests / "desired")
    run("git", "init", "--quiet")
    run("git", "add", "--all")
    check = (sys.executable, "-m", "pre_commit", "run", "--all-files")

    good = run(*check)
    assert 0 == good.returncode, good.stdout + good.stderr
    assert "Passed" in good.stdout

    shutil.copy(manifests / "desired" / "web1.yaml", manifests / "desired" / "web2.yaml")
    run("git", "add", "--all")
    twice = run(*check)
    assert 1 == twice.returncode, twice.stdout + twice.stderr
    assert "web1.yaml" in twice.stdout
    assert "web2.yaml" in twice.stdout

    (manifests / "desired" / "web2.yaml").write_text("kind: VirtualServer\nspec: {memory: much}\n")
    run("git", "add", "--all")
    bad = run(*check)
    assert 1 == bad.returncode
    assert "desired/web2.yaml:2:" in bad.stdout

    # As a real hook: the commit itself is held back.
    assert 0 == run(sys.executable, "-m", "pre_commit", "install").returncode
    held = run("git", "commit", "-m", "a bad one")
    assert 0 != held.returncode
    (manifests / "desired" / "web2.yaml").unlink()
    run("git", "add", "--all")
    assert 0 == run("git", "commit", "-m", "a good one").returncode
