"""Which images have been there: one that is missing now is never made again.

An image is noted as soon as it is seen after it was made, never before: a process that is killed in
between finds the image, and notes it then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from reconvirt.controller.hosts.fences import Fences
from reconvirt.controller.state_store import Document, StateStore, Unreadable
from reconvirt.domain.image_plan import NONE_KNOWN, Images, KnownImages

_WRITE_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class ImageRecord:
    """The record of images in the state store; the daemon and ``apply`` keep it.

    Args:
        store: where it is kept.
        clock: seconds that never go back.
    """

    def __init__(self, store: StateStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._noted: set[str] | None = None
        self._pending: dict[str, dict[str, Any]] = {}
        self._written = -_WRITE_SECONDS

    def known(self, images: Images) -> KnownImages:
        """Which images were there, as far as any of these is missing.

        Args:
            images: what is at their paths now.
        """
        if None not in images.values():
            return NONE_KNOWN
        try:
            recorded = self._store.read(Document.IMAGES)
        except Unreadable as error:
            return KnownImages(problem=str(error))
        with self._lock:
            paths = frozenset(recorded).union(self._pending)
        return KnownImages(paths, new_problem=self._made_elsewhere())

    def _made_elsewhere(self) -> str:
        """Why an image may have been made that this host has never seen; "" for no such reason.

        What is taken over from a host that is off was there, if its storage is not mounted here.
        """
        off = ", ".join(sorted(Fences(self._store).names()))
        if not off:
            return ""
        return f"{off} counts as off, and may have had it: see that its file system is mounted here"

    def note(self, uuid: str, images: Images) -> None:
        """Note the images that are there; many at once are written together.

        Args:
            uuid: of the virtual server whose images they are.
            images: what is at their paths now.
        """
        with self._lock:
            for path, facts in images.items():
                if facts is not None and path not in (self._noted or ()):
                    self._pending.setdefault(path, {"uuid": uuid, "size": facts.size})
            due = self._pending and self._clock() - self._written >= _WRITE_SECONDS
        if due:
            self.flush()

    def flush(self) -> None:
        """Write what was noted; what cannot be written stays noted for later."""
        with self._lock:
            if not self._pending:
                return
            self._written = self._clock()
            try:
                with self._store.change(Document.IMAGES) as entries:
                    for path, entry in self._pending.items():
                        entries.setdefault(path, entry)
                    self._noted = set(entries)
            except (Unreadable, OSError) as error:
                _log.warning("images are not noted", error=str(error))
                return
            self._pending.clear()
