"""The table [metrics] of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconvirt.controller.config import ConfigError, load_config
from reconvirt.metrics.settings import MetricsSettings, PerfSettings


def load(tmp_path: Path, text: str) -> MetricsSettings:
    path = tmp_path / "reconvirt.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path).metrics.settings


def test_nothing_stated_is_loopback_without_perf(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert ("127.0.0.1", False) == (settings.address[0], settings.perf.enabled)


def test_all_is_taken_over(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
workers = 2
[metrics]
listen = "[::1]:9000"
path = "/m"
interval_seconds = 2
labels = ["env"]
[metrics.perf]
enabled = true
window_seconds = 0.5
""",
    )
    expected = MetricsSettings(
        listen="[::1]:9000",
        path="/m",
        interval_seconds=2,
        labels=("env",),
        perf=PerfSettings(enabled=True, window_seconds=0.5),
    )
    assert expected == settings
    assert ("::1", 9000) == settings.address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics = 1", "metrics: 1 is not a section"),
        ("[metrics]\nlisen = ''", "metrics.lisen: there is no such setting; did you mean listen?"),
        ("[metrics]\nlisten = 'x'", "metrics.listen: 'x' is no HOST:PORT"),
        ("[metrics]\nlisten = 'x:99999'", "metrics.listen: 'x:99999' is no HOST:PORT"),
        ("[metrics]\nlisten = 5", "metrics.listen: 5 is not a text"),
        ("[metrics]\npath = 'm'", "metrics.path: 'm' does not fit; such as /metrics"),
        ("[metrics]\ninterval_seconds = 0.5", "metrics.interval_seconds: 0.5 is less than 1"),
        ("[metrics]\ninterval_seconds = true", "metrics.interval_seconds: True is not a number"),
        ("[metrics]\nlabels = 'env'", "metrics.labels: 'env' is not a list"),
        ("[metrics]\ntls_key = 'k'", "metrics.tls_key: certificate and key are stated together"),
        ("[metrics.perf]\nenabled = 1", "metrics.perf.enabled: 1 is neither true nor false"),
        ("[metrics.perf]\nbuffer_pages = 3", "metrics.perf.buffer_pages: it must be a power of 2"),
        ("[metrics.perf]\nbuffer_pages = 1.5", "1.5 is not a whole number"),
        (
            "[metrics.perf]\nwindow_seconds = 60",
            "window_seconds: it must be less than every_seconds",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path))
