"""The last good commit of a git source, which stays in force after a restart at a bad one."""

from __future__ import annotations

import structlog

from reconvirt.controller.config.source import GitSettings
from reconvirt.controller.state_store import Document, StateStore

_EARLIER = "good-commit"
"""The file in which reconvirt 0.1 kept it; it is read until a commit is stored."""

_log = structlog.get_logger(__name__)


class GoodCommit:
    """The last good commit of one source.

    Args:
        store: where it is stored.
        settings: which repository, and what of it.
    """

    def __init__(self, store: StateStore, settings: GitSettings) -> None:
        self._store = store
        reference = settings.branch or settings.tag or "HEAD"
        self._key = f"{settings.repository} {reference} {settings.path}"

    def read(self) -> str:
        """The commit; "" if none is known.

        Raises:
            Unreadable: it is not known whether there is one.
        """
        entries = self._store.read(Document.SOURCE)
        if not entries:
            return self._read_earlier()
        commit = str(entries.get(self._key, ""))
        return commit if commit.isalnum() else ""

    def write(self, commit: str) -> None:
        """Store the commit; if that fails, the log says so."""
        try:
            with self._store.change(Document.SOURCE) as entries:
                entries[self._key] = commit
        except OSError as error:
            _log.error("not stored", document=Document.SOURCE, error=str(error))

    def _read_earlier(self) -> str:
        if self._store.directory is None:
            return ""
        try:
            text = (self._store.directory / _EARLIER).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""
        return text if text.isalnum() else ""
