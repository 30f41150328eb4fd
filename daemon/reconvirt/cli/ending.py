"""The end of the program, in good order whatever libvirt does."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from reconvirt.hypervisor.events import EVENT_LOOP
from reconvirt.hypervisor.in_flight import IN_FLIGHT

_PATIENCE = 2.0
_FAILED = 1


def end(code: int) -> NoReturn:
    """End the program.

    libvirt's event loop ends first: one that still runs when the interpreter goes calls back into
    what is gone, which ends the process with a segmentation fault. A call that hangs cannot be
    ended; then the process goes at once, and leaves nothing for the call to come back to.

    Args:
        code: the exit code.
    """
    if IN_FLIGHT.wait_until_none(_PATIENCE) and EVENT_LOOP.stop():
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or _FAILED
    os._exit(code)
