"""The table ``[metrics]`` of the configuration."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


class SettingsError(ValueError):
    """A setting cannot be used; the text says which and why."""


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


DEFAULT_METRICS = MetricsSettings()

_LEAST: Mapping[str, float] = {
    "interval_seconds": 1,
    "timeout_seconds": 0.1,
    "refresh_seconds": 1,
    "every_seconds": 1,
    "window_seconds": 0.1,
    "buffer_pages": 1,
    "most_megabytes": 1,
    "most_cost": 0,
}


def read_settings(table: Any) -> MetricsSettings:
    """The settings in a table of the configuration.

    Raises:
        SettingsError: something in it cannot be used.
    """
    values = _values("metrics", table, MetricsSettings)
    if "perf" in values:
        values["perf"] = PerfSettings(**_values("metrics.perf", values["perf"], PerfSettings))
    settings = MetricsSettings(**values)
    if settings.listen:
        _check_address(settings)
    if not settings.path.startswith("/"):
        raise SettingsError(f"metrics.path: {settings.path!r} does not begin with /")
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise SettingsError(
            "metrics.tls_key: certificate and key are stated together or not at all"
        )
    if settings.perf.window_seconds >= settings.perf.every_seconds:
        raise SettingsError("metrics.perf.window_seconds: must be less than every_seconds")
    if settings.perf.buffer_pages & (settings.perf.buffer_pages - 1):
        raise SettingsError("metrics.perf.buffer_pages: must be a power of 2")
    return settings


def _check_address(settings: MetricsSettings) -> None:
    try:
        host, port = settings.address
    except ValueError:
        host, port = "", -1
    if not host or not 0 <= port < 2**16:
        raise SettingsError(f"metrics.listen: {settings.listen!r} is no HOST:PORT")


def _values(place: str, table: Any, kind: type) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise SettingsError(f"{place}: {table!r} is not a table")
    defaults = {each.name: each.default for each in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in defaults:
            near = difflib.get_close_matches(name, defaults, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            allowed = f"; allowed: {', '.join(defaults)}"
            raise SettingsError(f"{place}.{name}: there is no such setting{hint}{allowed}")
        values[name] = _checked(f"{place}.{name}", value, defaults[name])
    return values


def _checked(place: str, value: Any, default: Any) -> Any:
    """A value of the same sort as the default."""
    if isinstance(default, PerfSettings):
        return value
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise SettingsError(f"{place}: {value!r} is neither true nor false")
        return value
    if isinstance(default, tuple):
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise SettingsError(f"{place}: {value!r} is not a list of texts")
        return tuple(value)
    if isinstance(default, str):
        if not isinstance(value, str):
            raise SettingsError(f"{place}: {value!r} is not a text")
        return value
    whole = isinstance(default, int)
    right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not right or not math.isfinite(value):
        raise SettingsError(f"{place}: {value!r} is not a {'whole ' if whole else ''}number")
    least = _LEAST[place.rpartition(".")[2]]
    if value < least:
        raise SettingsError(f"{place}: {value} is less than {least}")
    return value
