"""The observer of every test, with real guests: what it sees, and what is no violation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import Guest, LibvirtHost, SecondHost, domain_xml, wait_until
from testbed.observer import EVERY_SECONDS, Law, Observer

Name = Callable[..., str]

SOON = 60.0
ON_PURPOSE = "the observer is shown what it is to see"
DISK = """
<disk type='{kind}'>
  <driver name='qemu' type='raw' cache='none'/>
  <source {attribute}='{source}'/>
  <target dev='vda' bus='virtio'/>{more}
</disk>"""


def behind_the_back(program: str, **environment: str) -> None:
    """Do something as the program under test does it: nothing of it is seen in this process."""
    subprocess.run(
        [sys.executable, "-c", f"import os, subprocess\n{program}"],
        env={**os.environ, **environment},
        check=True,
    )


def virsh_behind_the_back(host: LibvirtHost, *words: str) -> None:
    program = "subprocess.run(['virsh', *os.environ['WORDS'].split()], check=True)"
    behind_the_back(program, WORDS=f"--connect {host.uri} {' '.join(words)}")


def start(host: LibvirtHost, guest: Guest, name: str, devices: str = "", uuid: str = "") -> None:
    xml = domain_xml(name, guest, host.console_log(name), devices=devices)
    host.define(xml.replace("</name>", f"</name><uuid>{uuid}</uuid>") if uuid else xml)
    host.virsh("start", name)


def see(observer: Observer, law: Law, name: str) -> str:
    """Wait until it is seen; the test then passes all the same."""
    observer.expect(law, name, because=ON_PURPOSE)
    (text,) = wait_until(lambda: observer.seen(law, name), SOON, f"{name}: {law}")
    return text


def test_a_uuid_that_runs_on_two_hosts(
    pair: tuple[LibvirtHost, SecondHost], guest: Guest, unique_name: Name, observer: Observer
) -> None:
    """Even by different names."""
    uuid = "6f5e24c0-1111-4b6c-9f0e-0000000000c1"
    names = unique_name(), unique_name()
    for host, name in zip(pair, names, strict=True):
        start(host, guest, name, uuid=uuid)

    observer.expect(Law.COPIES, names[0], because=ON_PURPOSE)
    observer.expect(Law.COPIES, names[1], because=ON_PURPOSE)
    (text,) = wait_until(
        lambda: [each for name in names for each in observer.seen(Law.COPIES, name)],
        SOON,
        "two copies",
    )

    assert f"uuid {uuid}" in text
    assert "on zhost1 as process" in text
    assert "on zhost2 as process" in text


def test_two_copies_of_which_one_is_paused(
    pair: tuple[LibvirtHost, SecondHost], guest: Guest, unique_name: Name, observer: Observer
) -> None:
    """As after a migration whose source waits: it is none, but going on with it is."""
    host, second = pair
    uuid, name = "6f5e24c0-1111-4b6c-9f0e-0000000000c2", unique_name()
    start(host, guest, name, uuid=uuid)
    host.virsh("suspend", name)
    start(second, guest, name, uuid=uuid)
    second.console(name).wait_for("^GUEST cpus=")
    assert [] == observer.seen(Law.COPIES, name)

    host.virsh("resume", name)

    see(observer, Law.COPIES, name)


def test_a_migration_breaks_no_law(
    pair: tuple[LibvirtHost, SecondHost], guest: Guest, unique_name: Name, observer: Observer
) -> None:
    """There and back, with a disk that both have open for a moment; what is left is asked for."""
    host, second = pair
    name = unique_name()
    image = host.image(f"{name}.raw", kind="raw")
    disk = DISK.format(kind="file", attribute="file", source=image, more="")
    start(host, guest, name, disk)
    host.console(name).wait_for("^GUEST cpus=")
    options = ("--live", "--p2p", "--persistent", "--undefinesource", "--unsafe")
    host.virsh("migrate", *options, name, second.remote_uri)
    second.virsh("migrate", *options, name, host.remote_uri)
    host.virsh("managedsave", name)
    host.virsh("start", name)

    assert [] == observer.unexpected()


@pytest.mark.parametrize("shareable", [False, True])
def test_a_block_device_that_two_write_to(
    host: LibvirtHost, guest: Guest, unique_name: Name, observer: Observer, *, shareable: bool
) -> None:
    """By two paths that lead to it, as with multipath: QEMU's lock does not see that."""
    names = unique_name(), unique_name()
    image = host.image(f"{names[0]}.raw", kind="raw")
    for name, source in zip(names, (host.loop(image), host.loop(image)), strict=True):
        more = "<shareable/>" if shareable else ""
        start(
            host, guest, name, DISK.format(kind="block", attribute="dev", source=source, more=more)
        )

    if shareable:
        host.console(names[1]).wait_for("^GUEST cpus=")
        assert [] == observer.unexpected()
    else:
        text = see(observer, Law.WRITERS, names[0])
        assert f"of {names[1]} on zhost1" in text


def test_a_guest_that_is_ended(
    host: LibvirtHost, guest: Guest, unique_name: Name, observer: Observer
) -> None:
    """It was not asked for; the one beside it was."""
    name, other = unique_name(), unique_name()
    for each in (name, other):
        start(host, guest, each)
    see_first(observer)
    host.virsh("destroy", other)
    virsh_behind_the_back(host, "destroy", name)

    assert "libvirt's log says: destroyed" in see(observer, Law.ENDED, name)
    assert [] == observer.seen(Law.ENDED, other)


def test_a_guest_that_is_restarted(
    host: LibvirtHost, guest: Guest, unique_name: Name, observer: Observer
) -> None:
    """It has ended, too, although it runs; what was asked for before counts no more."""
    name = unique_name()
    start(host, guest, name)
    see_first(observer)
    host.virsh("destroy", name)
    host.virsh("start", name)
    see_first(observer)
    virsh_behind_the_back(host, "destroy", name)
    virsh_behind_the_back(host, "start", name)

    see(observer, Law.ENDED, name)
    host.virsh("destroy", name)
    assert 1 == len(observer.seen(Law.ENDED, name))


def test_a_definition_that_is_gone(
    host: LibvirtHost, guest: Guest, unique_name: Name, observer: Observer
) -> None:
    """Also of one that runs on without it; a new name is none the less the same one."""
    name, renamed, undefined = (unique_name() for _ in range(3))
    for each in (name, renamed, undefined):
        host.define(domain_xml(each, guest, host.console_log(each)))
    host.virsh("start", "--paused", name)
    see_first(observer)
    virsh_behind_the_back(host, "domrename", renamed, f"{renamed}-new")
    host.virsh("undefine", undefined)
    virsh_behind_the_back(host, "undefine", name)

    see(observer, Law.GONE, name)
    host.virsh("destroy", name)
    for each in (renamed, undefined):
        assert [] == observer.seen(Law.GONE, each)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("open(image, 'r+b').write(b'x')", "was written to while it is shut off"),
        ("os.remove(image)", "was removed"),
        ("open(f'{image}.new', 'w'); os.rename(f'{image}.new', image)", "is another file now"),
    ],
)
def test_an_image_that_changes(
    host: LibvirtHost,
    guest: Guest,
    unique_name: Name,
    observer: Observer,
    program: str,
    expected: str,
) -> None:
    """Of one that is shut off; what the test itself writes is asked for."""
    name = unique_name()
    image = host.image(f"{name}.raw", kind="raw")
    disk = DISK.format(kind="file", attribute="file", source=image, more="")
    host.define(domain_xml(name, guest, host.console_log(name), devices=disk))
    see_first(observer, 10)  # its creation is over
    image.write_bytes(b"by the test")
    see_first(observer, 10)
    assert [] == observer.seen(Law.IMAGE, name)
    behind_the_back(f"image = os.environ['IMAGE']\n{program}", IMAGE=str(image))

    assert expected in see(observer, Law.IMAGE, name)


def see_first(observer: Observer, looks: int = 3) -> None:
    """Let the observer look some times."""
    before = observer.looks
    wait_until(lambda: observer.looks >= before + looks, looks * (EVERY_SECONDS + 5), "some looks")


def test_a_test_fails_by_what_was_seen(tmp_path: Path) -> None:
    """At its end, with all that is known about it."""
    test = tmp_path / "test_broken.py"
    test.write_text(
        "import os, subprocess, sys\n"
        "from testbed import domain_xml\n"
        "def test_passes_by_itself(host, guest, unique_name, observer):\n"
        "    name = unique_name()\n"
        "    host.define(domain_xml(name, guest, host.console_log(name)))\n"
        "    host.virsh('start', name)\n"
        "    host.console(name).wait_for('^GUEST cpus=')\n"
        "    program = \"import os; os.system(os.environ['COMMAND'])\"\n"
        "    command = f'virsh -c {host.uri} destroy {name}'\n"
        "    environment = {**os.environ, 'COMMAND': command}\n"
        "    subprocess.run([sys.executable, '-c', program], env=environment)\n"
        "    before = observer.looks\n"
        "    while observer.looks < before + 2: pass\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "conftest"]
    done = subprocess.run(
        [*command, "--rootdir", tmp_path, test],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == done.returncode
    assert "ERROR at teardown of test_passes_by_itself" in done.stdout
    assert "a law was broken during the test" in done.stdout
    assert "its guest has ended: process" in done.stdout
