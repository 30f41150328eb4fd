"""Who may use which part of the machine: one numbered slot for each test run.

A slot is held with a file lock, which the kernel lets go of however its holder ends. So two
test runs can share a machine, and what a killed run left behind is recognised: it stands in
a slot that nobody holds.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

BEDS = Path("/var/lib/reconvirt-testbed")  # short (socket paths) and open to QEMU's user
MOST_SLOTS = 64


@dataclass(frozen=True, slots=True)
class Slot:
    """A number, and the names on the machine that belong to whoever holds it."""

    number: int
    lock: int  # the open file descriptor whose lock this is

    @property
    def directory(self) -> Path:
        """Everything on disk: configuration, sockets, logs, images."""
        return BEDS / str(self.number)

    @property
    def name_prefix(self) -> str:
        """What the names of virtual servers begin with."""
        return f"rv-test-{self.number}-"

    @property
    def bridge_prefix(self) -> str:
        """What the names of network interfaces begin with; the kernel allows 15 characters."""
        return f"rvbr{self.number}-"

    def release(self) -> None:
        """Let another run have it."""
        os.close(self.lock)


def free_slots() -> list[Slot]:
    """Take every slot that was used before and that nobody holds, and one more if none is.

    The caller releases those it does not use.
    """
    taken: list[Slot] = []
    for number in range(MOST_SLOTS):
        known = (BEDS / f"{number}.lock").exists()
        if not known and taken:
            break
        if (slot := take_slot(number)) is not None:
            taken.append(slot)
    if not taken:
        raise RuntimeError(f"all {MOST_SLOTS} test beds under {BEDS} are in use")
    return taken


def take_slot(number: int) -> Slot | None:
    """The slot of this number; None if somebody holds it."""
    BEDS.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = os.open(BEDS / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return Slot(number, lock)
