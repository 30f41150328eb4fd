"""Where the memory of crashed guests is dumped to, and whether there is room (chapter 21)."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from reconvirt.domain.fields import FIELD_BY_NAME
from reconvirt.domain.lifecycle import DumpFacts
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.xmltree import parse_xml

_SPARE_BYTES = 64 * 1024 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class DumpDirectory:
    """The directory for dumps.

    Attributes:
        path: where; None where there is none.
        most: how many dumps of one virtual server are kept; then no more are made.
    """

    path: Path | None
    most: int

    def facts(self, observed: Observed) -> DumpFacts:
        """What is known of the dump of a crashed virtual server."""
        if observed.state is not State.CRASHED or self.path is None:
            return DumpFacts()
        stem = re.sub(r"[^A-Za-z0-9_.-]", "_", observed.name)
        # The number of a running virtual server begins anew when the host is started.
        path = self.path / f"{stem}.{_boot()}-{observed.domain_id}.elf"
        if path.exists():
            return DumpFacts(str(path), True, "")
        return DumpFacts(str(path), False, self._hindrance(observed, stem))

    def _hindrance(self, observed: Observed, stem: str) -> str:
        if self.path is None or not self.path.is_dir():
            return f"there is no directory {self.path}"
        kept = list(self.path.glob(f"{stem}.*.elf"))
        if len(kept) >= self.most:
            return f"there are {len(kept)} dumps of it in {self.path}, and {self.most} are allowed"
        memory = FIELD_BY_NAME["memory.size"].read(parse_xml(observed.live or observed.config))
        needed = int(memory or 0) * 1024 + _SPARE_BYTES
        try:
            free = shutil.disk_usage(self.path).free
        except OSError as error:
            return f"{self.path}: {error.strerror}"
        if free < needed:
            return f"{self.path} has {free >> 20} MiB free, and it takes {needed >> 20} MiB"
        return ""


NO_DUMPS = DumpDirectory(None, 0)


def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii")[:8]
    except OSError:
        return "unknown"
