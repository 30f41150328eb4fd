"""Small things that outlive the daemon: a file of JSON each, written anew beside and renamed."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


def read_kept(file: Path) -> dict[str, Any] | None:
    """What was kept; empty if nothing was, None if it cannot be read, which is logged."""
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _log.error("cannot be read", file=str(file), error=str(error))
        return None
    return found


def write_kept(file: Path, value: dict[str, Any]) -> None:
    """Keep it, so that a sudden end of the machine leaves it whole.

    What root's commands keep belongs to whom the directory belongs to: the daemon need not be root.

    Raises:
        OSError: it cannot be kept; what was kept before still is.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    number, path = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
            if os.geteuid() == 0:
                owner = file.parent.stat()
                os.fchown(stream.fileno(), owner.st_uid, owner.st_gid)
        Path(path).replace(file)
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
