"""The tutorial, done word for word on a machine as its reader has one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from documentation import ROOT, Block, blocks, looks_like
from testbed.lacks import require_root
from testbed.machine import Machine
from testbed.waiting import NotSeen, wait_until

SOON = 180.0
HERE = "/run/tutorial-directory"
# The machine has no network, so what comes from it is made ready outside by the same scripts.
MADE_OUTSIDE = {
    "scripts/setup": f"ln -s {ROOT}/.venv .venv",
    "scripts/build-deb": "mkdir -p dist && cp /mnt/packages/*.deb dist",
}
SHELL = f"""
export PATH=/usr/local/sbin:/usr/local/bin:$PATH HOME=/root
cd "$(cat {HERE})"
{{script}}
pwd > {HERE}
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A fresh machine whose git knows its user, and finds this very tree where it clones from."""
    require_root()
    directory = tmp_path_factory.mktemp("tutorial")
    subprocess.run([ROOT / "scripts" / "build-guest"], check=True)
    subprocess.run([ROOT / "scripts" / "build-deb", directory], check=True)
    repository(directory / "tree")
    mounts = {"/mnt/packages": directory, "/mnt/guest": ROOT / ".guest", str(ROOT): ROOT}
    with Machine(directory, mounts) as entered:
        entered.write("/root/.gitconfig", GIT)
        # Not where the tree itself may be mounted.
        entered.shell(f"mkdir /reader && echo /reader > {HERE}")
        entered.shell("cp -a /mnt/guest /var/lib/libvirt/images/reconvirt")
        yield entered


GIT = """
[user]
name = Ann
email = ann@example.com
[safe]
directory = *
[url "/mnt/packages/tree"]
insteadOf = https://git.example.com/reconvirt.git
"""


def repository(directory: Path) -> None:
    """The tree as it is now, with what is not committed yet."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    there = [name for name in names if name and (ROOT / name.decode()).exists()]
    directory.mkdir()
    copy = ["cp", "--parents", "--target-directory", directory, *there]
    subprocess.run(copy, cwd=ROOT, check=True)
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "The tree"]):
        subprocess.run(["git", *command], cwd=directory, check=True)


def steps() -> list[tuple[Block, str | None]]:
    """The tutorial's blocks, and what is to be seen after each; None where nothing is shown."""
    found: list[tuple[Block, str | None]] = []
    for block in blocks(ROOT / "docs" / "tutorial.md"):
        if block.language == "text":
            found[-1] = (found[-1][0], block.text)
        else:
            found.append((block, None))
    return found


def do(machine: Machine, script: str, *, strict: bool = True) -> str:
    """What commands print, errors included, where the reader is now."""
    text = SHELL.format(script=script)
    return machine("bash", "-euc" if strict else "-c", f"exec 2>&1\n{text}")


def with_stand_ins(script: str) -> str:
    lines = []
    for line in script.splitlines():
        command = line.partition("#")[0].strip()
        lines.append(MADE_OUTSIDE.get(command, line))
    return "\n".join(lines)


def wait_for_output(machine: Machine, block: Block, wanted: str) -> None:
    """Look again and again, as a reader does who is told that it may take a while."""
    printed: list[str] = []

    def shown() -> bool:
        printed[:] = [do(machine, block.text, strict=False)]
        return looks_like(wanted, printed[0])

    try:
        wait_until(shown, SOON, f"the output at {block.place}")
    except NotSeen as error:
        journal = machine("journalctl", "-u", "reconvirtd", "-u", "second-host", "-n", "40")
        raise NotSeen(f"{error}\n{printed[0]}\n{journal}") from None
    # What libvirt prints by itself is nothing that a reader should see.
    assert [] == [line for line in printed[0].splitlines() if line.startswith("libvirt: ")]


@pytest.mark.timeout(1800)
def test_the_tutorial(machine: Machine) -> None:
    """Each command works, and each output that the tutorial shows comes."""
    seen = 0
    for block, wanted in steps():
        if block.language == "toml":
            name = block.text.split()[1]
            machine.shell(f"mkdir -p $(dirname {name})")
            machine.write(name, block.text)
        elif wanted is None:
            assert block.language == "sh", block.place
            do(machine, with_stand_ins(block.text))
        else:
            printed: list[str] = []

            def shown(
                block: Block = block, wanted: str = wanted, last: list[str] = printed
            ) -> bool:
                last[:] = [do(machine, block.text, strict=False)]
                return looks_like(wanted, last[0])

            try:
                wait_until(shown, SOON, f"the output at {block.place}")
            except AssertionError as error:
                journal = machine("journalctl", "-u", "reconvirtd", "-u", "second-host", "-n", "40")
                raise AssertionError(f"{error}\n{printed[0]}\n{journal}") from None
            seen += 1
    assert seen > 10
