"""Processes that do not move, as if they hung."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from testbed.host import LibvirtHost


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that does not move."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def emulator(host: LibvirtHost, name: str) -> int:
    """The process of a virtual server that runs."""
    return int((host.directory / "run" / "qemu" / f"{name}.pid").read_text(encoding="utf-8"))
