"""Logs: one line a transition, readable on a terminal, JSON for the journal."""

from __future__ import annotations

import logging
import os
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from reconvirt.controller.config import LogFormat

_SYSLOG = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}


def configure(form: LogFormat, stream: TextIO, level: str) -> None:
    """Set up all logs of the process, those of libraries included.

    Args:
        form: ``console``, ``json``, or ``auto``: JSON where the stream goes to systemd's journal.
        stream: where the lines go.
        level: the least important ones that are written.
    """
    journal = form == "auto" and is_journal(stream)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        *([] if journal else [structlog.processors.TimeStamper(fmt="iso", utc=True)]),
    ]
    render = _json_lines(journal=journal) if journal or form == "json" else [_console(stream)]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
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
