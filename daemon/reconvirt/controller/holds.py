"""Holds: virtual servers that are left alone on purpose, and who said so.

A hold outlives the daemon: it is kept as JSON in the daemon's state directory, written anew
beside and renamed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from reconvirt.controller.kept import write_kept

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a virtual server is left alone.

    Attributes:
        reason: why.
        who: who said so: a user's name, or ``manifest``.
        since: since when, in seconds since the epoch.
    """

    reason: str
    who: str
    since: float

    def __str__(self) -> str:
        return f"{self.reason} ({self.who})"


class Holds:
    """The holds of one host.

    Args:
        file: where they are kept; None keeps them only as long as the process lives.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._holds: dict[str, Hold] = {}
        self._unread: Hold | None = None
        if file is not None:
            self._holds, self._unread = _read(file)

    def get(self, name: str) -> Hold | None:
        """The hold on a virtual server; all are held where the file cannot be read."""
        return self._holds.get(name, self._unread)

    def all(self) -> Mapping[str, Hold]:
        """All holds by name."""
        return dict(self._holds)

    def add(self, name: str, hold: Hold) -> None:
        """Have a virtual server left alone.

        Raises:
            OSError: it cannot be kept; nothing has changed.
        """
        self._change({**self._holds, name: hold})

    def release(self, name: str) -> bool:
        """End a hold; False if there was none.

        Raises:
            OSError: it cannot be kept; nothing has changed.
        """
        if self._unread is None and name not in self._holds:
            return False
        self._change({key: hold for key, hold in self._holds.items() if key != name})
        return True

    def _change(self, holds: dict[str, Hold]) -> None:
        with self._lock:
            if self._unread is not None:
                raise OSError(self._unread.reason)
            if self._file is not None:
                write_kept(self._file, {name: asdict(hold) for name, hold in holds.items()})
            self._holds = holds


def _read(file: Path) -> tuple[dict[str, Hold], Hold | None]:
    """The holds, and the one on all if they cannot be read."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): Hold(**hold) for name, hold in value.items()}, None
    except FileNotFoundError:
        return {}, None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        # That must not become work on what was to be left alone. The file stays as it is.
        _log.error("holds cannot be read", file=str(file), error=str(error))
        reason = f"nobody knows who is held: mend or remove {file}, and restart; {error}"
        return {}, Hold(reason, "reconvirt", 0.0)
