"""Logs: one line a transition, readable on a terminal, entries with fields in the journal."""

from __future__ import annotations

import logging
import os
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from reconvirt.controller.config import LogFormat
from reconvirt.controller.journal import SOCKET, JournalHandler

_SYSLOG = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}


def configure(form: LogFormat, stream: TextIO, level: str) -> None:
    """Set up all logs of the process, those of libraries included.

    Args:
        form: ``console``, ``json``, or ``auto``: where the stream goes to systemd's journal,
            entries with fields of their own; JSON if the journal's socket is not to be seen.
        stream: where the lines go.
        level: the least important ones that are written.
    """
    journal = form == "auto" and is_journal(stream)
    native = journal and SOCKET.is_socket()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        *([] if journal else [structlog.processors.TimeStamper(fmt="iso", utc=True)]),
    ]
    if native:
        render = [_without_level, _plain()]
    elif journal or form == "json":
        render = _json_lines(journal=journal)
    else:
        render = [_console(stream)]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )
    handler: logging.Handler = JournalHandler() if native else logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    before, root.handlers[:] = root.handlers[:], [handler]
    for old in before:
        if isinstance(old, JournalHandler):
            old.close()
    root.setLevel(level.upper())
    # What libraries say in passing is of no interest to administrators.
    logging.getLogger("watchdog").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def is_journal(stream: TextIO) -> bool:
    """Whether a stream goes to systemd's journal, as systemd.exec(5) says how to tell."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


def _console(stream: TextIO) -> Processor:
    colors = stream.isatty() and not os.environ.get("NO_COLOR")
    return structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0)


def _plain() -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
    )


def _without_level(
    _logger: Any, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The journal has the priority, and shows it in its own way."""
    event.pop("level", None)
    return event


def _json_lines(*, journal: bool) -> list[Processor]:
    processors: list[Processor] = [
        structlog.processors.dict_tracebacks,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    if not journal:
        return processors

    def with_priority(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> str:
        # sd-daemon(3): the journal takes <N> at the beginning of a line as its priority.
        number = _SYSLOG.get(str(event.get("level")), 6)
        line = structlog.processors.JSONRenderer(ensure_ascii=False)(_logger, _name, event)
        return f"<{number}>{line!s}"

    return [processors[0], with_priority]
