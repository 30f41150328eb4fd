"""A container's own part of the machine's control groups, in which libvirt can set CPU shares."""

import contextlib
from pathlib import Path

from testbed.slots import Slot

_CPU = Path("/sys/fs/cgroup/cpu")


class CpuGroup:
    """A group of the CPU controller for all that is started in it.

    A container that is started in it sees it as the root of all groups, so that the groups which
    libvirt makes inside neither meet those of other tests nor outlive them. It is named after a
    slot, and removed with everything else of it.

    Only where each controller has a hierarchy of its own (control groups, version 1): with
    version 2 systemd has to delegate a group, and it does not run on every machine with tests.
    """

    def __init__(self, slot: Slot) -> None:
        self._path = _CPU / f"{slot.name_prefix}machine"

    @property
    def possible(self) -> bool:
        """Whether the machine has such a hierarchy, which can be written to."""
        with contextlib.suppress(OSError):
            self._path.mkdir(exist_ok=True)
            return (self._path / "cgroup.procs").exists()
        return False

    def within(self, command: list[str]) -> list[str]:
        """The command, started in the group."""
        script = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        return ["sh", "-c", script, str(self._path), *command]
