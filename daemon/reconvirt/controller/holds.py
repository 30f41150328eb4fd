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
        self._holds = dict(_read(file)) if file is not None else {}

    def get(self, name: str) -> Hold | None:
        """The hold on a virtual server."""
        return self._holds.get(name)

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
        if name not in self._holds:
            return False
        self._change({key: hold for key, hold in self._holds.items() if key != name})
        return True

    def _change(self, holds: dict[str, Hold]) -> None:
        with self._lock:
            if self._file is not None:
                write_kept(self._file, {name: asdict(hold) for name, hold in holds.items()})
            self._holds = holds


def _read(file: Path) -> Mapping[str, Hold]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): Hold(**hold) for name, hold in value.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        # A hold that cannot be read must not become work on what was to be left alone: say it
        # loudly. The file stays as it is until the next hold.
        _log.error("holds cannot be read", file=str(file), error=str(error))
        return {}
