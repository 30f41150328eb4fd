"""What a test bed leaves on the machine, found and removed by its own names only."""

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from testbed.media import loop_devices, release_loop
from testbed.slots import Slot, free_slots
from testbed.waiting import wait_until

MARK = "RECONVIRT_TESTBED"  # in the environment of the bed's daemons: the bed's directory
KILL_SECONDS = 20.0
NETWORK = Path("/sys/class/net")


def traces(slot: Slot) -> list[str]:
    """Each process, control group, interface and so on of this slot, in words for people."""
    found = [f"process {pid}" for pid in processes(slot)]
    found += [f"control group {path}" for path in control_groups(slot)]
    found += [f"interface {name}" for name in interfaces(slot)]
    found += [f"loop device {device}" for device in loop_devices(slot)]
    if slot.directory.exists():
        found.append(f"directory {slot.directory}")
    return found


def take_clean_slot() -> Slot:
    """A free slot; what killed runs left in it and in every other free one is removed."""
    first, *others = free_slots()
    for slot in (first, *others):
        sweep(slot)
    for slot in others:
        slot.release()
    return first


def sweep(slot: Slot) -> None:
    """Remove every trace of this slot; its mounts go with the last process that sees them."""
    taps = _held_taps(slot)  # known only as long as they are held
    kill(*processes(slot))
    remove_control_groups(slot)
    for name in {*interfaces(slot), *taps}:
        _remove_interface(name)
    for device in loop_devices(slot):
        release_loop(device)
    if slot.directory.exists():
        shutil.rmtree(slot.directory)


def kill(*pids: int) -> None:
    """End processes at once, and wait until the kernel has forgotten them."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(_alive, pids)), KILL_SECONDS, f"the end of the processes {pids}")


def emulators(slot: Slot) -> list[int]:
    """The QEMU processes of this slot's virtual servers; libvirt gives them no environment."""
    name = f"guest={slot.name_prefix}".encode()
    return [pid for pid, folder in _processes() if name in _read(folder / "cmdline")]


def processes(slot: Slot) -> list[int]:
    """The slot's daemons first, then its emulators: nobody is left to restart anything."""
    mark = f"{MARK}={slot.directory}".encode()
    daemons = [
        pid for pid, folder in _processes() if mark in _read(folder / "environ").split(b"\0")
    ]
    return [*daemons, *emulators(slot)]


def control_groups(slot: Slot) -> list[Path]:
    """Control groups named after this slot's virtual servers, innermost first."""
    # Under systemd a dash in a virtual server's name is written as an escape.
    names = (slot.name_prefix, slot.name_prefix.replace("-", r"\x2d"))
    return [
        Path(folder)
        for folder, _, _ in os.walk("/sys/fs/cgroup", topdown=False)
        if any(name in folder for name in names)
    ]


def remove_control_groups(slot: Slot) -> None:
    """Remove the control groups that the end of their virtual servers left behind."""

    def removed(path: Path) -> bool:
        try:
            path.rmdir()
        except FileNotFoundError:  # libvirt removes them too, if it sees the end
            return True
        except OSError as error:
            # The last thread of a killed emulator leaves after its process looks dead.
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    for path in control_groups(slot):
        wait_until(partial(removed, path), KILL_SECONDS, f"the control group {path} to be empty")


def interfaces(slot: Slot) -> list[str]:
    """Network interfaces with this slot's prefix."""
    return [path.name for path in NETWORK.iterdir() if path.name.startswith(slot.bridge_prefix)]


def _held_taps(slot: Slot) -> set[str]:
    # A switch's interfaces outlive it, and those it makes for itself have a name of its own
    # until the test bed gives them another.
    found = set()
    for pid in processes(slot):
        with contextlib.suppress(OSError):  # the process or the file is gone by now
            for file in Path(f"/proc/{pid}/fdinfo").iterdir():
                found.update(re.findall(rb"^iff:\t(\S+)$", _read(file), re.MULTILINE))
    return {name.decode() for name in found}


def _remove_interface(name: str) -> None:
    # It may go before us: with its other end, or with the last thread of who made it.
    command = ["ip", "link", "delete", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and (NETWORK / name).exists():
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def _processes() -> Iterator[tuple[int, Path]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            yield int(folder.name), folder


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process ended while we looked
        return b""


def _alive(pid: int) -> bool:
    # A zombie has nothing left but its entry, which is its parent's business.
    state = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return bool(state) and state[0] not in (b"Z", b"X")
