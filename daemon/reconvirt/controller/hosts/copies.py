"""Which images were made at other hosts for storage that is copied there.

Stored, so that a daemon that was killed knows what it may remove; no other image is ever removed.
Where that cannot be read, none is.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from reconvirt.controller.state_store import Document, StateStore, Unreadable
from reconvirt.domain.migration import CopiedImage
from reconvirt.hypervisor.errors import HypervisorDown, HypervisorError
from reconvirt.hypervisor.moving import Host

_log = structlog.get_logger(__name__)


class Copies:
    """The images that were made, and are no virtual server's yet.

    Args:
        store: where they are stored.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def made(self, uuid: str, host: str) -> tuple[str, ...]:
        """The paths of those that were made for a virtual server at a host.

        None are known where that cannot be read, which the store reports: nothing is removed then.
        """
        try:
            return tuple(self._store.read(Document.COPIED_IMAGES).get(f"{uuid} {host}", ()))
        except Unreadable:
            return ()

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
        with self._store.change(Document.COPIED_IMAGES) as entries:
            entries.pop(f"{uuid} {host}", None)
            if paths:
                entries[f"{uuid} {host}"] = list(paths)

    def arrived(self, uuid: str) -> None:
        """A virtual server is no longer here: what was made for it is its own now."""
        try:
            known = self._store.read(Document.COPIED_IMAGES)
            if not any(key.startswith(f"{uuid} ") for key in known):
                return
            with self._store.change(Document.COPIED_IMAGES) as entries:
                for key in [key for key in entries if key.startswith(f"{uuid} ")]:
                    del entries[key]
        except OSError as error:
            # It is tried again at the next look; until then nothing of it is removed, as it is
            # not here.
            _log.error("not stored", document=Document.COPIED_IMAGES, error=str(error))
