"""The section ``[metrics]``: how metrics are collected and served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from reconvirt.controller.config.settings import section, setting
from reconvirt.metrics.settings import MetricsSettings, PerfSettings

_SECONDS = "a number of seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfSection:
    """How exits are recorded with `perf kvm stat`."""

    enabled: bool = setting(
        False, about="whether exits are recorded; it costs something, so not by default"
    )
    program: str = setting("perf", about="the program perf")
    every_seconds: float = setting(
        60.0, about="how often a window is recorded", least=1, unit=_SECONDS
    )
    window_seconds: float = setting(1.0, about="how long a window is", least=0.1, unit=_SECONDS)
    buffer_pages: int = setting(
        1024, about="pages of the buffer of each CPU; a power of 2", least=1
    )
    most_megabytes: int = setting(
        64, about="the size of a recording at which it is ended, in MB", least=1
    )
    most_cost: float = setting(
        0.05,
        about="the share of one CPU, over all the time, above which it stops itself",
        least=0,
        most=1,
    )
    directory: str | None = setting(
        None,
        about="where recordings are, each in a directory that only root enters; the system's "
        "usual place for temporary files if none is stated",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSection:
    """How metrics are collected and served."""

    enabled: bool = setting(True, about="whether metrics are served")
    listen: str = setting(
        "127.0.0.1:9751",
        about="address and port; anything else than loopback lets other hosts read the names and "
        "loads of all virtual servers",
        examples=("127.0.0.1:9751", "[::1]:9751"),
    )
    path: str = setting("/metrics", about="where they are", pattern=r"/.*", examples=("/metrics",))
    interval_seconds: float = setting(
        10.0, about="the time between two collections", least=1, unit=_SECONDS
    )
    timeout_seconds: float = setting(
        5.0, about="when a call of libvirt is taken for hung", least=0.1, unit=_SECONDS
    )
    refresh_seconds: float = setting(
        300.0, about="how long XML counts when nothing hints at a change", least=1, unit=_SECONDS
    )
    labels: tuple[str, ...] = setting(
        (), about="the labels of manifests that are exported, as `label_…`"
    )
    tls_certificate: str | None = setting(
        None, about="the file with the server's certificate; without one there is no TLS"
    )
    tls_key: str | None = setting(None, about="the file with its key")
    users_file: str | None = setting(
        None,
        about="the file of those who may read them, a line each, made by `reconvirt metrics --user "
        "NAME`, and read again when it changes; everybody may if none is stated",
    )
    textfile: str | None = setting(
        None, about="a file that is written after every collection, for node_exporter"
    )
    perf: PerfSection = section(PerfSection, about="how exits are recorded")

    @property
    def settings(self) -> MetricsSettings:
        """The same for the metrics room."""
        perf = PerfSettings(**_values(self.perf, PerfSettings))
        values = _values(self, MetricsSettings)
        return MetricsSettings(
            **{**values, "perf": perf, "listen": self.listen if self.enabled else ""}
        )

    def objections(self) -> Iterator[tuple[str, str]]:
        """What does not fit together."""
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) >= 2**16:
            yield "listen", f"{self.listen!r} is no HOST:PORT"
        if (self.tls_certificate is None) != (self.tls_key is None):
            yield "tls_key", "certificate and key are stated together or not at all"
        if self.perf.window_seconds >= self.perf.every_seconds:
            yield "perf.window_seconds", "it must be less than every_seconds"
        if self.perf.buffer_pages & (self.perf.buffer_pages - 1):
            yield "perf.buffer_pages", "it must be a power of 2"


def _values(section: object, kind: type) -> dict[str, Any]:
    """A section's values by the names of the other dataclass; "" for what is not stated."""
    found = {each.name: getattr(section, each.name) for each in fields(kind)}
    return {name: "" if value is None else value for name, value in found.items()}
