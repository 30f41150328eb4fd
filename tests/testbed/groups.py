"""A container's own part of the machine's control groups, in which libvirt can set CPU shares."""

import contextlib
from pathlib import Path

from testbed.waiting import wait_until

_CPU = Path("/sys/fs/cgroup/cpu")
_SOON = 20.0


class CpuGroup:
    """A group of the CPU controller for all that is started in it.

    A container that is started in it sees it as the root of all groups, so that the groups which
    libvirt makes inside neither meet those of other tests nor outlive them.

    Only where each controller has a hierarchy of its own (control groups, version 1): with
    version 2 systemd has to delegate a group, and it does not run on every machine with tests.
    """

    def __init__(self, name: str) -> None:
        self._path = _CPU / name

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

    def remove(self) -> None:
        """Remove it with all groups in it, once their processes are gone."""
        wait_until(self._try_to_remove, _SOON, f"{self._path} to be empty")

    def _try_to_remove(self) -> bool:
        for path in sorted(self._path.rglob("*/"), reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()
        with contextlib.suppress(OSError):
            self._path.rmdir()
        return not self._path.exists()
