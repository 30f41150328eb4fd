"""Which images were made at other hosts for storage that is copied there.

Kept in a file, so that a daemon that was killed knows what it may remove; no other image is ever
removed.
"""

from __future__ import annotations

import threading
from pathlib import Path

from reconvirt.controller.kept import read_kept, write_kept


class Copies:
    """The images that were made, and are no virtual server's yet.

    Args:
        state_directory: where they are kept.
    """

    def __init__(self, state_directory: Path) -> None:
        self._file = state_directory / "copies.json"
        self._lock = threading.Lock()
        self._kept: dict[str, list[str]] | None = None

    def made(self, uuid: str, host: str) -> tuple[str, ...]:
        """The paths of those that were made for a virtual server at a host."""
        with self._lock:
            return tuple(self._read().get(f"{uuid} {host}", ()))

    def note(self, uuid: str, host: str, paths: tuple[str, ...]) -> None:
        """Keep what is made, before it is; none any more ends it.

        Raises:
            OSError: it cannot be kept.
        """
        with self._lock:
            kept = self._read()
            kept.pop(f"{uuid} {host}", None)
            if paths:
                kept[f"{uuid} {host}"] = list(paths)
            self._write(kept)

    def arrived(self, uuid: str) -> None:
        """A virtual server is no longer here: what was made for it is its own now."""
        with self._lock:
            kept = self._read()
            gone = [key for key in kept if key.startswith(f"{uuid} ")]
            for key in gone:
                del kept[key]
            if gone:
                self._write(kept)

    def _read(self) -> dict[str, list[str]]:
        if self._kept is None:
            self._kept = read_kept(self._file)
        return dict(self._kept or {})

    def _write(self, kept: dict[str, list[str]]) -> None:
        write_kept(self._file, kept)
        self._kept = kept
