"""All metrics as one text: what changes by itself, and the last snapshot of the virtual servers."""

from __future__ import annotations

import gzip
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as RegistryCollector

from reconvirt.metrics.collector import Collector
from reconvirt.metrics.other_rows import AGE
from reconvirt.metrics.render import ServersText
from reconvirt.metrics.servers import Snapshot

_OPEN_METRICS = "application/openmetrics-text"
_END = b"# EOF\n"
_LATELY_SECONDS = 300.0
_LEVEL = 1
"""Of compression: most of the gain for little of the time."""

# Series that tell when a counter began would double the number of series; Prometheus sees a
# counter begin anew by its value.
disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus-client says none


class Ages(RegistryCollector):
    """How old the snapshot is, and each virtual server in it; worked out at every scrape.

    Args:
        collector: has the snapshot.
    """

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry must not collect in order to know the names."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The families; what is gone from the snapshot is gone here."""
        age = GaugeMetricFamily(
            "reconvirt_libvirt_stats_age_seconds",
            "How old the last collection of statistics is; no sample before the first.",
        )
        each = GaugeMetricFamily(AGE.family, AGE.help, labels=["virtual_server"])
        snapshot = self._collector.snapshot
        if snapshot is not None:
            now = self._collector.now
            age.add_metric([], now - snapshot.taken_at)
            for server in snapshot.servers:
                if server.asked_at is not None and server.reading.domain_id is not None:
                    each.add_metric([server.reading.name], now - server.asked_at)
        yield from (age, each)
        yield GaugeMetricFamily(
            "reconvirt_libvirt_stats_stuck_calls",
            "Calls for statistics that libvirt or a QEMU has not answered and that were given up.",
            self._collector.stuck,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a scraper gets.

    Attributes:
        content_type: the format.
        body: the text.
        compressed: whether the body is.
    """

    content_type: str
    body: bytes
    compressed: bool


class Exposition:
    """Renders everything, from memory only.

    Args:
        registry: what changes by itself; the virtual servers are not in it.
        collector: has the snapshot.
        host: the name of the host.
    """

    def __init__(
        self, registry: CollectorRegistry, collector: Collector, host: str | None = None
    ) -> None:
        self._registry = registry
        self._collector = collector
        self._text = ServersText(host or socket.gethostname())
        self._lock = threading.Lock()
        self._kept: dict[tuple[bool, bool], tuple[Snapshot, bytes]] = {}
        self._asked: dict[tuple[bool, bool], float] = {}

    def answer(self, accept: str, encodings: str) -> Answer:
        """The metrics in the format that a scraper likes best.

        Args:
            accept: its header ``Accept``.
            encodings: its header ``Accept-Encoding``.
        """
        encoder, content_type = choose_encoder(accept)
        open_metrics = content_type.startswith(_OPEN_METRICS)
        compress = "gzip" in encodings.lower()
        live = encoder(self._registry)
        if open_metrics:
            live = live.removesuffix(_END)
        end = _END if open_metrics else b""
        self._asked[open_metrics, compress] = time.monotonic()
        servers = self._servers(open_metrics=open_metrics, compress=compress)
        if not compress:
            return Answer(content_type, live + servers + end, compressed=False)
        # Compressed pieces one after the other are the compressed whole.
        pieces = (gzip.compress(live, _LEVEL), servers, gzip.compress(end) if end else b"")
        return Answer(content_type, b"".join(pieces), compressed=True)

    def text(self) -> bytes:
        """The metrics in the plain format."""
        return self.answer("", "").body

    def prepare(self) -> None:
        """Render the last snapshot for those who have scraped lately, so that they need not wait.

        Called by whoever has collected it.
        """
        since = time.monotonic() - _LATELY_SECONDS
        for (open_metrics, compress), asked_at in list(self._asked.items()):
            if asked_at > since:
                self._servers(open_metrics=open_metrics, compress=compress)

    def _servers(self, *, open_metrics: bool, compress: bool) -> bytes:
        """The text of the last snapshot; made once, for however many scrapers."""
        snapshot = self._collector.snapshot
        if snapshot is None:
            return b""
        with self._lock:
            known = self._kept.get((open_metrics, compress))
            if known is not None and known[0] is snapshot:
                return known[1]
            text = self._text.render(snapshot, open_metrics=open_metrics).encode()
            text = gzip.compress(text, _LEVEL) if compress and text else text
            self._kept[open_metrics, compress] = (snapshot, text)
            return text


def write_textfile(text: bytes, path: Path) -> None:
    """Write metrics to a file for node_exporter, which never sees it half-written.

    Raises:
        OSError: it cannot be written.
    """
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
