"""How metrics are collected and served: the section ``[metrics]`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PerfSettings:
    """How exits are recorded with ``perf kvm stat``; the table ``[metrics.perf]``.

    Attributes:
        enabled: whether they are; it costs something, so not by default.
        program: the program perf.
        every_seconds: how often a window is recorded.
        window_seconds: how long a window is.
        buffer_pages: pages of the buffer of each CPU; a power of 2.
        most_megabytes: the size of a recording at which it is ended.
        most_cost: the share of one CPU, over all the time, above which it stops itself; 0.05 is
            five in a hundred.
        directory: where recordings are, each in a directory that only root enters; "" for the
            system's usual place for temporary files.
    """

    enabled: bool = False
    program: str = "perf"
    every_seconds: float = 60.0
    window_seconds: float = 1.0
    buffer_pages: int = 1024
    most_megabytes: int = 64
    most_cost: float = 0.05
    directory: str = ""


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """How metrics are collected and served.

    Attributes:
        listen: address and port, such as ``127.0.0.1:9751`` or ``[::1]:9751``; "" serves nothing.
        path: where the metrics are.
        interval_seconds: between two collections.
        timeout_seconds: after which a call of libvirt is taken for hung.
        refresh_seconds: how long XML counts when nothing hints at a change.
        labels: the labels of manifests that are exported.
        tls_certificate: the file with the server's certificate; "" serves without TLS.
        tls_key: the file with its key.
        users_file: who may read them, a line each, made by ``reconvirt metrics --user NAME``; ""
            for everybody.
        textfile: a file that is written after every collection, for node_exporter; "" for none.
        perf: how exits are recorded.
    """

    listen: str = "127.0.0.1:9751"
    path: str = "/metrics"
    interval_seconds: float = 10.0
    timeout_seconds: float = 5.0
    refresh_seconds: float = 300.0
    labels: tuple[str, ...] = ()
    tls_certificate: str = ""
    tls_key: str = ""
    users_file: str = ""
    textfile: str = ""
    perf: PerfSettings = PerfSettings()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)
