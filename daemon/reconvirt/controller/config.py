"""How the daemon and the commands run: ``/etc/reconvirt/reconvirt.toml``."""

from __future__ import annotations

import difflib
import math
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from reconvirt.domain.rules import HostRules
from reconvirt.metrics.settings import (
    DEFAULT_METRICS,
    MetricsSettings,
    SettingsError,
    read_settings,
)

LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

DEFAULT_FILE = Path("/etc/reconvirt/reconvirt.toml")


class ConfigError(ValueError):
    """The configuration cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Config:
    """The settings; each is a key of the file.

    Attributes:
        connect: libvirt's URI.
        desired: the directory of the manifests.
        workers: how many virtual servers are worked on at a time.
        resync_seconds: how long until a virtual server is looked at again although nothing was
            heard of it, give or take a tenth.
        glance_seconds: how often all are looked at from afar, for what sends no event.
        debounce_seconds: how long the directory must be quiet before it is read.
        rescan_seconds: how often the directory is looked at although nothing was heard of it.
        log_format: ``auto`` is readable on a terminal and JSON under the journal.
        log_level: the least important messages that are written.
        allow_passthrough: whether ``spec.xml`` may hand arguments through to QEMU, which can do
            anything on the host.
        metrics: how metrics are collected and served; a table.
    """

    connect: str = "qemu:///system"
    desired: Path = Path("/etc/reconvirt/desired")
    workers: int = 4
    resync_seconds: float = 300.0
    glance_seconds: float = 5.0
    debounce_seconds: float = 0.2
    rescan_seconds: float = 10.0
    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"
    allow_passthrough: bool = False
    metrics: MetricsSettings = DEFAULT_METRICS

    @property
    def rules(self) -> HostRules:
        """What the host allows in manifests."""
        return HostRules(passthrough=self.allow_passthrough)


def load_config(path: Path | None, **overrides: Any) -> Config:
    """The settings of a file, and of the command line where it says otherwise.

    Args:
        path: the file; None for the usual one, which need not exist.
        overrides: settings of the command line; None leaves the file's.

    Raises:
        ConfigError: the file cannot be read, or says something that it must not.
    """
    values = _read(path or DEFAULT_FILE, required=path is not None)
    stated = {name: value for name, value in overrides.items() if value is not None}
    return replace(Config(**values), **stated)


def _read(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: there is no such file") from None
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    metrics = table.pop("metrics", None)
    values = {name: _checked(path, name, value) for name, value in table.items()}
    if metrics is not None:
        try:
            values["metrics"] = read_settings(metrics)
        except SettingsError as error:
            raise ConfigError(f"{path}: {error}") from error
    return values


_LEAST = {
    "workers": 1,
    "resync_seconds": 1.0,
    "glance_seconds": 1.0,
    "debounce_seconds": 0.0,
    "rescan_seconds": 1.0,
}


def _checked(path: Path, name: str, value: Any) -> Any:
    """One setting, of the right type and within its bounds."""
    known = [each.name for each in fields(Config)]
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        allowed = f"; allowed: {', '.join(known)}"
        raise ConfigError(f"{path}: {name}: there is no such setting{hint}{allowed}")
    choices = {"log_format": get_args(LogFormat), "log_level": get_args(LogLevel)}.get(name)
    if choices:
        if value not in choices:
            raise ConfigError(f"{path}: {name}: {value!r} is none of {', '.join(choices)}")
        return value
    if name == "allow_passthrough":
        if not isinstance(value, bool):
            raise ConfigError(f"{path}: {name}: {value!r} is neither true nor false")
        return value
    if name in _LEAST:
        least = _LEAST[name]
        whole = isinstance(least, int)
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not right or not math.isfinite(value):
            wanted = "a whole number" if whole else "a number of seconds"
            raise ConfigError(f"{path}: {name}: {value!r} is not {wanted}")
        if value < least:
            raise ConfigError(f"{path}: {name}: {value} is less than {least}")
        return value
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{path}: {name}: {value!r} is not a text")
    return Path(value) if name == "desired" else value
