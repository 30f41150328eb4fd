"""What libvirt would store for a definition, found by having it stored where nobody looks.

A child process runs libvirt's own QEMU driver (``qemu:///embed``) in a private directory, with no
daemon and no connection to one; the directory is removed afterwards. Root is not needed. Without
it libvirt decides as it does for ``qemu:///session``, for the little where that is different.

What a host has configured for its libvirt, in ``qemu.conf``, has no effect here. The driver asks
each QEMU that is needed what it can do, anew each time, which takes some seconds: give it all
definitions at once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import libvirt

from reconvirt.hypervisor.events import EVENT_LOOP, open_raw

# No virtual server is started here; this keeps the driver to its directory. It would make others
# in each file system of huge pages. And where root can use KVM but the user that libvirt runs QEMU
# as cannot, the driver would ask QEMU anew at each definition; here, QEMU only tells what it can.
_CONFIGURATION = """\
user = "+{user}"
group = "+{group}"
stdio_handler = "file"
security_driver = "none"
namespaces = []
cgroup_controllers = []
hugetlbfs_mount = []
"""
# A socket's path has at most 107 bytes, and QEMU's is below the root.
_LONGEST_ROOT = 107 - len("/lib/qemu/qmp-XXXXXX/qmp.monitor")
# What belongs to a virtual server stays: its files may be real ones.
_UNDEFINE = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM
_INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE


class ScratchFailed(Exception):
    """libvirt could not be tried out; says nothing of the definitions. The text is for people."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """What became of one definition.

    Attributes:
        xml: the inactive XML that libvirt stores; "" if it refuses the definition. Where the
            definition has no UUID or MAC address, these are different each time.
        error: libvirt's words; "" if it takes it.
    """

    xml: str
    error: str


def normalise(definitions: Sequence[str], timeout: float = 60) -> list[Normalised]:
    """What libvirt would store for each definition, as if it were the only one.

    Args:
        definitions: domain XML.
        timeout: seconds for all of them.

    Raises:
        ScratchFailed: libvirt's QEMU driver is not there, took too long, or crashed.
    """
    with tempfile.TemporaryDirectory(prefix="reconvirt-scratch-") as root:
        if len(os.fsencode(root)) > _LONGEST_ROOT:
            raise ScratchFailed(f"{root} is too long for libvirt's sockets; set TMPDIR=/tmp")
        try:
            answers = _ask_child(root, definitions, timeout)
        finally:
            _end_emulators(root)
    return [Normalised(**json.loads(answer)) for answer in answers]


def _ask_child(root: str, definitions: Sequence[str], timeout: float) -> list[str]:
    # Without -P Python would also look for our modules where it was started.
    command = [sys.executable, "-P", "-m", __spec__.name, root]
    # As an ordinary user's, libvirt writes below HOME or XDG_RUNTIME_DIR as well.
    places = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), root)
    settings = {k: v for k, v in os.environ.items() if not k.startswith("LIBVIRT_")}
    lines = "".join(f"{json.dumps(definition)}\n" for definition in definitions)
    with subprocess.Popen(  # noqa: S603 - a fixed program, no shell
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**settings, **places, "LC_ALL": "C"},
        start_new_session=True,  # so that it can be ended with whatever it is starting
    ) as child:
        try:
            output, said = child.communicate(lines, timeout)
        except BaseException as error:
            os.killpg(child.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ScratchFailed(
                    f"libvirt has not taken {len(definitions)} definitions within {timeout:g} s"
                ) from error
            raise
    answers = output.splitlines()
    if child.returncode or len(answers) != len(definitions):
        words = (said.strip().splitlines() or [f"ended with {child.returncode}"])[-1]
        raise ScratchFailed(f"libvirt's QEMU driver cannot be tried out: {words}")
    return answers


def _end_emulators(root: str) -> None:
    """End those that the driver was asking what they can do when it was ended itself.

    They have left its session, and would wait for it for ever.
    """
    mark = f"{root}/lib/qemu/qmp-".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "cmdline").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue  # gone, or another user's


# The child


def _serve(root: str) -> None:
    """Answer each line of the input, a definition in JSON, by a line with what became of it."""
    configuration = Path(root, "etc", "qemu.conf")
    configuration.parent.mkdir()
    ours = _CONFIGURATION.format(user=os.geteuid(), group=os.getegid())
    configuration.write_text(ours, encoding="ascii")
    try:
        connection = open_raw(f"qemu:///embed?root={root}")
        for line in sys.stdin:
            xml, error = _define(connection, json.loads(line))
            print(json.dumps({"xml": xml, "error": error}), flush=True)  # noqa: T201 - the answer
        connection.close()
        EVENT_LOOP.stop()
    except libvirt.libvirtError as error:
        sys.exit(_on_one_line(error))
    finally:
        shutil.rmtree(root, ignore_errors=True)  # also when nobody waits for us any more


def _define(connection: libvirt.virConnect, definition: str) -> tuple[str, str]:
    try:
        domain = connection.defineXMLFlags(definition, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    except libvirt.libvirtError as error:
        return "", _on_one_line(error)
    xml = domain.XMLDesc(_INACTIVE)
    domain.undefineFlags(_UNDEFINE)
    return xml, ""


def _on_one_line(error: libvirt.libvirtError) -> str:
    return " ".join(str(error).split())


if __name__ == "__main__":
    _serve(sys.argv[1])
