"""The commands about a host's configuration and its source, as a process; without a libvirt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("reconvirt")
ROOT = Path(__file__).parents[3]


def reconvirt(*arguments: str | Path, status: int = 0, **environment: str) -> str:
    """What the program prints, output and errors together."""
    done = subprocess.run(
        [PROGRAM, *arguments],
        env={"PATH": os.environ["PATH"], "COLUMNS": "200", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert status == done.returncode, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return tmp_path / "reconvirt.toml"


def test_a_good_configuration(settings: Path) -> None:
    """The files that were read are named, and what is in force is shown with its origin."""
    settings.write_text("workers = 2\n")
    (settings.parent / "conf.d").mkdir()
    (settings.parent / "conf.d" / "a.toml").write_text("[admission]\nmax_vcpus = 4\n")

    said = reconvirt("config", "check", settings)
    shown = reconvirt("config", "show", "--config", settings)

    assert f"good: {settings}, {settings.parent}/conf.d/a.toml\n" == said
    assert f"workers = 2  # {settings}\n" in shown
    assert f"max_vcpus = 4  # {settings.parent}/conf.d/a.toml\n" in shown
    assert "resync_seconds = 300  # default\n" in shown


def test_a_bad_configuration_stops_every_command(settings: Path) -> None:
    """With all that is wrong; so does the daemon's start."""
    settings.write_text("workers = 0\n[admission]\ndisk_root = []\n")
    for command in (("config", "check", settings), ("run", "--config", settings)):
        said = reconvirt(*command, status=1)
        assert f"{settings}: workers: 0 is less than 1" in said
        assert f"{settings}: admission.disk_root: there is no such setting; did you mean" in said


def test_schemas_are_printed() -> None:
    """As the repository has them."""
    stored = (ROOT / "schemas" / "reconvirt-config-v1.schema.json").read_text(encoding="utf-8")

    assert stored == reconvirt("config", "schema")


def test_validate_knows_the_rules_of_a_host(settings: Path) -> None:
    """With file, line, field and setting; without --config manifests are checked alone."""
    settings.write_text(
        '[admission]\nenforce = true\ndisk_roots = ["/srv"]\nmax_memory = "128 MiB"\n'
    )
    example = ROOT / "desired" / "web1.yaml"
    lines = example.read_text(encoding="utf-8").splitlines()
    line = next(number for number, each in enumerate(lines, 1) if "  memory:" in each)

    assert "1 manifest good" in reconvirt("validate", example)
    said = reconvirt("validate", "--config", settings, example, status=1)

    assert f"web1.yaml:{line}:" in said
    assert "admission.max_memory" in said
    assert "spec.devices.disks[vda].source.file" in said
    assert "(admission.disk_roots)" in said
    assert "2 problems" in said


def test_the_examples_are_admitted_by_default(settings: Path) -> None:
    """The demo and the tutorial need no rules of their own for them."""
    settings.write_text("[admission]\nenforce = true\n")

    assert "good" in reconvirt("validate", "--config", settings, ROOT / "desired")


def test_sync_needs_something_to_fetch(settings: Path, tmp_path: Path) -> None:
    """And tells what is missing."""
    settings.write_text("")
    said = reconvirt("sync", "--config", settings, status=1)
    assert "no section source.git" in said
    settings.write_text(f'[source.git]\nrepository = "{tmp_path}/r"\n')
    assert "remote is not stated" in reconvirt("sync", "--config", settings, status=1)


def test_sync_and_what_it_has_fetched(settings: Path, tmp_path: Path) -> None:
    """Names are completed from the commit, and a plan tells its revision."""
    upstream = tmp_path / "upstream"
    (upstream / "desired").mkdir(parents=True)
    text = (ROOT / "desired" / "web1.yaml").read_text(encoding="utf-8")
    (upstream / "desired" / "web1.yaml").write_text(text, encoding="utf-8")
    git = ["git", "-C", upstream, "-c", "user.name=A", "-c", "user.email=a@example.com"]
    for arguments in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        ("commit", "--quiet", "--message=one"),
    ):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    settings.write_text(
        f'state_directory = "{tmp_path}/state"\n[source.git]\nrepository = "{tmp_path}/mirror"\n'
        f'remote = "file://{upstream}"\nbranch = "main"\npath = "desired"\n'
        "[source]\nshared = false\n"
    )

    assert f"nothing → {head}\n" == reconvirt("sync", "--config", settings)
    assert f"nothing new: {head}\n" == reconvirt("sync", "--config", settings)
    plan = reconvirt(
        "plan", "--config", settings, "--against", "test:///default", "-o", "json", status=2
    )
    assert head == json.loads(plan)["revision"].partition("/")[0]
    completed = reconvirt(
        RECONVIRT_CONFIG=str(settings),
        _RECONVIRT_COMPLETE="bash_complete",
        COMP_WORDS="reconvirt plan w",
        COMP_CWORD="2",
    )
    assert "plain,web1\n" == completed


def test_manifests_that_others_can_write_are_refused(settings: Path, tmp_path: Path) -> None:
    """Unless the host's configuration trusts them; 'validate' alone has no host."""
    folder = tmp_path / "desired"
    folder.mkdir()
    file = folder / "web1.yaml"
    file.write_text((ROOT / "desired" / "web1.yaml").read_text(encoding="utf-8"))
    file.chmod(0o666)
    settings.write_text("[admission]\nenforce = true\n")
    options = ("--config", settings, "--desired", folder, "--against", "test:///default")

    said = reconvirt("plan", *options, status=1)
    assert "its group and everybody can write to it (chmod go-w)" in said
    assert "1 manifest good" in reconvirt("validate", folder)

    settings.write_text("[admission]\nenforce = true\n[source]\ntrust_writable = true\n")
    assert "1 with changes" in reconvirt("plan", *options, status=2)
    settings.write_text("[admission]\nenforce = true\n")
    file.chmod(0o644)
    folder.chmod(0o777)
    assert f"{folder}: everybody" in reconvirt("plan", *options, status=1).replace(
        "its group and ", ""
    )
