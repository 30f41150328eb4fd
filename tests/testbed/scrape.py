"""What a daemon's endpoint says, as a scraper sees it."""

import time
import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from testbed.program import Daemon

Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scrape: the samples, and how long it took."""

    text: str
    seconds: float
    samples: list[tuple[str, Labels, float]]

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the one series of this name with these labels; None if there is none."""
        found = self.all(name, **labels)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def all(self, name: str, **labels: str) -> list[tuple[Labels, float]]:
        """All series of this name with these labels."""
        return [
            (known, value)
            for each, known, value in self.samples
            if each == name and labels.items() <= known.items()
        ]

    def server(self, server: str, name: str, **labels: str) -> float | None:
        """The value of a metric of one virtual server."""
        return self.value(f"reconvirt_virtual_server_{name}", virtual_server=server, **labels)


def scrape(address: str, timeout: float = 30.0) -> Scrape:
    """Scrape `address`, a URL."""
    began = time.perf_counter()
    with urllib.request.urlopen(address, timeout=timeout) as answer:
        text = answer.read().decode()
    seconds = time.perf_counter() - began
    samples = [
        (sample.name, dict(sample.labels), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    return Scrape(text, seconds, samples)


def address_of(daemon: Daemon) -> str:
    """Where a daemon serves its metrics."""
    return f"http://127.0.0.1:{daemon.wait_for('metrics are served')['port']}/metrics"
