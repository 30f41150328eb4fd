"""What libvirt would store, tried out with libvirt's own driver and without a daemon."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconvirt.hypervisor.scratch import ScratchFailed, normalise
from testbed import wait_until

SERVER = """
<domain type='qemu'>
  <name>scratch1</name>
  {uuid}
  <memory unit='MiB'>64</memory>
  <os><type arch='s390x' machine='s390-ccw-virtio'>hvm</type></os>
  <devices>
    <disk type='file'>
      <driver name='qemu' type='raw'/>
      <source file='/no/such/image'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='bridge'><source bridge='no-such-br'/></interface>
  </devices>
</domain>
"""


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where scratch directories are made; nothing may be left in it, nor a process of it."""
    # pytest's own have paths too long for sockets.
    with tempfile.TemporaryDirectory(prefix="rt-", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
        wait_until(lambda: not processes(folder), 10, "the last process to go")
        assert [] == list(Path(folder).iterdir())


def processes(folder: str) -> list[str]:
    """The command lines of the processes that work below a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        if folder.encode() in command:
            found.append(command.decode(errors="replace"))
    return found


def test_libvirt_completes_a_definition() -> None:
    """Addresses, defaults, and the machine's version are there."""
    (done,) = normalise([SERVER.format(uuid="")])

    assert "" == done.error
    root = ET.fromstring(done.xml)
    machine = root.find("os/type").get("machine")
    addresses = [element.attrib for element in root.findall("devices/*/address")]
    assert machine.startswith("s390-ccw-virtio-")
    assert {"type": "ccw", "cssid": "0xfe", "ssid": "0x0", "devno": "0x0001"} in addresses
    assert "1" == root.findtext("vcpu")


def test_libvirts_words_for_what_it_refuses() -> None:
    """Each definition has its own answer, whatever became of the one before."""
    good = SERVER.format(uuid="")
    unknown = good.replace("<devices>", "<devices><gadget/>")
    impossible = good.replace("s390-ccw-virtio", "s390-ccw-nonsense")

    answers = normalise([unknown, impossible, "no XML", "", good])

    assert "failed to validate" in answers[0].error
    assert "does not support machine type 's390-ccw-nonsense'" in answers[1].error
    assert "Start tag expected" in answers[2].error
    assert answers[3].error
    assert all(answer.xml == "" and "\n" not in answer.error for answer in answers[:-1])
    assert "" == answers[4].error


def test_each_is_the_only_one() -> None:
    """Two definitions may share a name or a UUID."""
    first, second = (f"<uuid>{'0' * 7}{n}-0000-4000-8000-000000000000</uuid>" for n in (1, 2))
    others = [SERVER.format(uuid=first), SERVER.format(uuid=second)]
    renamed = others[0].replace("scratch1", "schön")

    answers = normalise([*others, renamed])

    assert [""] * 3 == [answer.error for answer in answers]
    assert "<name>schön</name>" in answers[2].xml


def test_a_secret_stays() -> None:
    """The next definition from it must not lose its password."""
    graphics = "<devices><graphics type='vnc' passwd='sesame'/>"

    (done,) = normalise([SERVER.format(uuid="").replace("<devices>", graphics)])

    assert "passwd='sesame'" in done.xml


def test_nothing_asked(place: Path) -> None:
    """Nothing answered."""
    assert [] == normalise([])
    assert [] == list(place.iterdir())


def test_settings_of_other_programs_have_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set for other programs that use libvirt does not change where it is tried out."""
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "test:///default")
    monkeypatch.setenv("LIBVIRT_DRIVER_DIR", "/nowhere")

    (done,) = normalise([SERVER.format(uuid="")])

    assert "" == done.error


@pytest.mark.parametrize("timeout", [0.01, 0.15, 0.3, 0.5, 0.8])
def test_it_takes_no_longer_than_it_may(timeout: float) -> None:
    """QEMU, which is being asked what it can do, is ended as well."""
    started = time.monotonic()
    words = f"has not taken 1000 definitions within {timeout} s"
    with pytest.raises(ScratchFailed, match=words):
        normalise([SERVER.format(uuid="")] * 1000, timeout)

    assert time.monotonic() - started < timeout + 5


def test_without_libvirt(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the definition that is wrong."""
    monkeypatch.setattr(sys, "executable", shutil.which("false"))

    with pytest.raises(ScratchFailed, match="ended with 1"):
        normalise([SERVER.format(uuid="")])


def test_a_long_path(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Sockets would not fit."""
    long = place / ("x" * 80)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))

    with pytest.raises(ScratchFailed, match="TMPDIR=/tmp"):
        normalise([SERVER.format(uuid="")])

    long.rmdir()


def test_killed_meanwhile(place: Path) -> None:
    """The child ends by itself and cleans up."""
    program = (
        "import sys; from reconvirt.hypervisor.scratch import normalise; "
        "normalise([sys.argv[1]] * 50)"
    )
    command = [sys.executable, "-c", program, SERVER.format(uuid="")]
    parent = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(place)})
    wait_until(lambda: any("machine none" in each for each in processes(str(place))), 30, "QEMU")

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    wait_until(lambda: not list(place.iterdir()), 30, "the directory to go")
