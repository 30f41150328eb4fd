"""The jobs of docs/ci.md, run as a CI runs them, against a real libvirt."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from testbed import Desired, LibvirtHost, Reconvirt
from testbed.guest import REPOSITORY
from testbed.program import PROGRAM
from testbed.waiting import limit

Name = Callable[..., str]


def script(job: str) -> str:
    """The commands of a job, as the page has them."""
    text = (REPOSITORY / "docs" / "ci.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(validate:\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return "\n".join(yaml.safe_load(block)[job]["script"])


def test_validate_and_plan(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """Before a merge: 2 where there is something to look at, 0 where not, 1 where it is refused."""
    work = tmp_path / "checkout"
    work.mkdir()
    (work / "desired").symlink_to(desired.path)
    (work / "hosts").mkdir()
    (work / "hosts" / "kvm1.toml").write_text(
        f'[admission]\nenforce = true\nboot_roots = ["{host.slot.directory}"]\n'
        f'log_roots = ["{host.slot.directory}"]\nmax_memory = "200 MiB"\ntrust_writable = true\n'
    )
    environment = {key: v for key, v in os.environ.items() if not key.startswith("RECONVIRT_")}
    environment["PATH"] = f"{PROGRAM.parent}:{environment['PATH']}"
    environment["COLUMNS"] = "200"

    def run(job: str) -> tuple[int, str]:
        """The status and the output: a CI's shell stops at the first command that fails."""
        commands = script(job).replace("qemu+ssh://plan@kvm1/system", host.uri)
        done = subprocess.run(
            [*host.where("bash"), "-eo", "pipefail", "-c", commands],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit(180),
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    name = unique_name()
    desired.manifest(name, state="shutoff")
    assert (0, "1 manifest good\n") == run("validate")
    status, said = run("plan")
    assert 2 == status, said
    assert said.startswith((work / "plan.txt").read_text()[:20])
    assert "define" in (work / "plan.txt").read_text()
    assert name not in host.names()

    reconvirt.apply()
    assert 0 == run("plan")[0]
    assert "0 with changes, 1 as wanted" in (work / "plan.txt").read_text()

    desired.manifest(name, state="shutoff", memory="300 MiB")
    status, said = run("validate")
    assert 1 == status
    assert "admission.max_memory" in said
    other = "1f8c9b5e-0000-4000-8000-000000000001"
    desired.manifest(name, state="shutoff", metadata={"uuid": other})
    assert 1 == run("plan")[0]
    assert "refuse" in (work / "plan.txt").read_text()
