"""Which images were made at other hosts for storage that is copied there.

Kept in a file, so that a daemon that was killed knows what it may remove; no other image is ever
removed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from reconvirt.controller.kept import read_kept, write_kept
from reconvirt.domain.migration import CopiedImage
from reconvirt.hypervisor.errors import HypervisorDown, HypervisorError
from reconvirt.hypervisor.moving import Host


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

    def make(
        self, there: Host, uuid: str, host: str, images: Iterable[tuple[CopiedImage, int]]
    ) -> str:
        """Make images at another host; the path at which something stands already, "" for none.

        Args:
            there: the connection to it.
            uuid: of the virtual server.
            host: its name.
            images: each with its size in bytes.

        Raises:
            HypervisorError: one cannot be made.
            OSError: it cannot be kept that one is made.
        """
        images = tuple(images)
        made: tuple[str, ...] = ()
        for image, _ in images:
            if there.image_is_there(image.path):
                return image.path
        for image, size_bytes in images:
            # Before it is made: after a sudden end it must be known as ours.
            self.note(uuid, host, (*made, image.path))
            try:
                is_ours = there.make_image(image, size_bytes)
            except HypervisorDown:
                # Nobody knows whether it was made.
                raise
            except HypervisorError:
                # What somebody puts there later is not ours.
                self.note(uuid, host, made)
                raise
            if not is_ours:
                self.note(uuid, host, made)
                return image.path
            made = (*made, image.path)
        return ""

    def remove(self, there: Host, uuid: str, host: str) -> None:
        """Remove what was made at another host for a migration that has failed.

        Raises:
            HypervisorError: it cannot be removed now.
            OSError: it cannot be kept that it is gone.
        """
        made = self.made(uuid, host)
        kept = tuple(path for path in made if not there.remove_image(path))
        if made:
            self.note(uuid, host, kept)

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
