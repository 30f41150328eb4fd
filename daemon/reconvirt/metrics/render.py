"""The series of all virtual servers as text, written again only where something has changed.

Of a thousand virtual servers most are shut off and say the same every time. Their lines are kept;
the text of a scrape is put together from the lines of each.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from prometheus_client.utils import floatToGoString

from reconvirt.metrics.rows import Row
from reconvirt.metrics.servers import Server, Snapshot, add_server
from reconvirt.metrics.table import ALL_ROWS

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

_EXPORTED = {row.name: row.exported for row in ALL_ROWS}

Lines = Mapping[str, str]
"""The lines of one virtual server by the name of their row."""


class ServersText:
    """Renders snapshots.

    Args:
        host: the name of the host.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._kept: dict[str, tuple[Server, Lines]] = {}
        self._lock = threading.Lock()

    def render(self, snapshot: Snapshot, *, open_metrics: bool) -> str:
        """The text of a snapshot.

        Args:
            snapshot: what was collected.
            open_metrics: whether as OpenMetrics, which names families otherwise; without its end.
        """
        gathered: dict[str, list[str]] = {row.name: [] for row in ALL_ROWS}
        with self._lock:
            kept = {}
            for server in snapshot.servers:
                lines = self._lines(server)
                kept[server.reading.uuid] = (server, lines)
                for name, text in lines.items():
                    gathered[name].append(text)
            self._kept = kept
        pieces: list[str] = []
        for row in ALL_ROWS:
            # Several keys of libvirt may share a name.
            if texts := gathered.pop(row.name, None):
                pieces.append(_head(row, open_metrics=open_metrics))
                pieces += texts
        return "".join(pieces)

    def _lines(self, server: Server) -> Lines:
        known = self._kept.get(server.reading.uuid)
        if known is not None:
            before, lines = known
            same_facts = before.facts is server.facts or before.facts == server.facts
            if same_facts and before.reading == server.reading and before.job == server.job:
                return lines
        return make_lines(server, self._host)


def make_lines(server: Server, host: str) -> Lines:
    """The lines of one virtual server."""
    lines: dict[str, str] = {}

    def add(row: Row, labels: dict[str, str], value: float) -> None:
        shown = ",".join([f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items()])
        line = f"{_EXPORTED[row.name]}{{{shown}}} {_number(value)}\n"
        lines[row.name] = lines.get(row.name, "") + line

    add_server(add, server, host)
    return lines


def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]  # prometheus-client says none


def _head(row: Row, *, open_metrics: bool) -> str:
    name = row.family if open_metrics else row.exported
    kind = "gauge" if row.kind == "info" and not open_metrics else row.kind
    return f"# HELP {name} {row.help}\n# TYPE {name} {kind}\n"
