"""Which images were made at other hosts for storage that is copied there.

Kept in the state directory, so that a daemon that was killed knows what it may remove. An image is
known again by a token that was written into it, never by its path: somebody may have put another
one there meanwhile.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reconvirt.controller.state_store import Document, StateStore, Unreadable
from reconvirt.domain.migration import CopiedImage
from reconvirt.hypervisor.errors import HypervisorDown, HypervisorError
from reconvirt.hypervisor.moving import Host


class Copies:
    """The images that were made, and are no virtual server's yet.

    Args:
        store: keeps them.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def made(self, uuid: str, host: str) -> Mapping[str, str]:
        """The token of each image that was made for a virtual server at a host, by path.

        Raises:
            OSError: it is not known which there are.
        """
        try:
            return _tokens(self._store.read(Document.COPIED_IMAGES).get(f"{uuid} {host}", {}))
        except Unreadable as error:
            raise OSError(str(error)) from error

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
        made: dict[str, str] = {}
        for image, _ in images:
            if there.image_is_there(image.path):
                return image.path
        for image, size_bytes in images:
            token = str(uuids.uuid4())
            # Before it is made: after a sudden end it must be known as ours.
            self.note(uuid, host, {**made, image.path: token})
            try:
                is_ours = there.make_image(image, size_bytes, token)
            except HypervisorDown:
                # It is not known whether it was made: its token will show.
                raise
            except HypervisorError:
                # What somebody puts there later is not ours.
                self.note(uuid, host, made)
                raise
            if not is_ours:
                self.note(uuid, host, made)
                return image.path
            made[image.path] = token
        return ""

    def fill(self, there: Host, uuid: str, host: str, images: Iterable[CopiedImage]) -> None:
        """Get images ready for their data: a raw one has no place for a token beside it.

        What was made raw is not known again from here on, and is never removed.

        Raises:
            HypervisorError: the token cannot be taken out.
            OSError: it cannot be kept.
        """
        made = dict(self.made(uuid, host))
        for image in images:
            token = made.get(image.path, "")
            if image.kind == "raw" and token:
                there.clear_raw_token(image.path, token)
                made[image.path] = ""
        self.note(uuid, host, made)

    def remove(self, there: Host, uuid: str, host: str) -> tuple[str, ...]:
        """Remove what was made at another host for a migration that has failed.

        Returns:
            What was left there, and why: one sentence each.

        Raises:
            HypervisorError: it cannot be removed now.
            OSError: it cannot be kept that it is gone.
        """
        left: list[str] = []
        made = dict(self.made(uuid, host))
        for path, token in list(made.items()):
            why = there.remove_image(path, token)
            if why:
                left.append(f"{path} is left at {host}: {why}")
            # What is not known to be ours is not asked about again.
            del made[path]
            self.note(uuid, host, made)
        return tuple(left)

    def note(self, uuid: str, host: str, images: Mapping[str, str]) -> None:
        """Keep what is made, before it is; none any more ends it.

        Raises:
            OSError: it cannot be kept.
        """

        def change(entries: dict[str, Any]) -> None:
            entries.pop(f"{uuid} {host}", None)
            if images:
                entries[f"{uuid} {host}"] = dict(images)

        self._change(change)

    def arrived(self, uuid: str) -> None:
        """A virtual server is no longer here: what was made for it is its own now.

        Raises:
            OSError: it cannot be kept.
        """

        def change(entries: dict[str, Any]) -> None:
            for key in [key for key in entries if key.startswith(f"{uuid} ")]:
                del entries[key]

        self._change(change)

    def _change(self, change: Callable[[dict[str, Any]], None]) -> None:
        try:
            with self._store.change(Document.COPIED_IMAGES) as entries:
                change(entries)
        except Unreadable as error:
            raise OSError(str(error)) from error


def _tokens(value: Any) -> dict[str, str]:
    """Paths and tokens of an entry; reconvirt 0.1 wrote paths alone, and no token into images."""
    if isinstance(value, list):
        return {str(path): "" for path in value}
    return {str(path): str(token) for path, token in value.items()}
