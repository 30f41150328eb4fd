"""One text from two sources: what changes by itself, and a snapshot; in every format."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from reconvirt.domain.observed import State
from reconvirt.hypervisor.stats import Reading
from reconvirt.metrics.exposition import Ages, Exposition
from reconvirt.metrics.servers import Server, Snapshot

ACCEPT = "application/openmetrics-text; version=1.0.0, text/plain; q=0.5"


@dataclass
class Collected:
    """What a collector has."""

    snapshot: Snapshot | None = None
    now: float = 100.0
    stuck: int = 0


def server(name: str, asked_at: float | None = 90.0, domain_id: int | None = 1) -> Server:
    values = {"balloon.current": 1, "cpu.time": 10**9}
    return Server(Reading(name, f"u-{name}", domain_id, State.RUNNING, "booted", values), asked_at)


@pytest.fixture
def collected() -> Collected:
    return Collected(Snapshot(95.0, (server("a"), server("b", None), server("c", 95.0, None))))


@pytest.fixture
def exposition(collected: Collected) -> Exposition:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)
    registry.register(Ages(collected))  # type: ignore[arg-type]  # it has what is read
    return Exposition(registry, collected, "host1")  # type: ignore[arg-type]  # it has what is read


def parsed(families: Any) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("virtual_server", "")): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_format_says_the_same(exposition: Exposition) -> None:
    plain = exposition.answer("", "")
    assert ("text/plain", False) == (plain.content_type.partition(";")[0], plain.compressed)
    found = parsed(text_string_to_metric_families(plain.body.decode()))
    assert 3 == found["things_total", ""]
    assert 1 == found["reconvirt_virtual_server_cpu_seconds_total", "a"]
    modern = exposition.answer(ACCEPT, "")
    assert modern.content_type.startswith("application/openmetrics-text")
    assert 1 == modern.body.count(b"# EOF\n")
    assert found == parsed(open_metrics(modern.body.decode()))
    for accept, same in (("", plain), (ACCEPT, modern)):
        packed = exposition.answer(accept, "gzip, deflate")
        assert packed.compressed
        assert same.body == gzip.decompress(packed.body)


def test_ages_grow_by_themselves(exposition: Exposition, collected: Collected) -> None:
    def ages() -> dict[tuple[str, str], float]:
        found = parsed(text_string_to_metric_families(exposition.text().decode()))
        return {key: value for key, value in found.items() if "stats_age" in key[0]}

    assert {
        ("reconvirt_libvirt_stats_age_seconds", ""): 5,
        ("reconvirt_virtual_server_stats_age_seconds", "a"): 10,
    } == ages()
    collected.now += 7
    assert 17 == ages()["reconvirt_virtual_server_stats_age_seconds", "a"]
    collected.snapshot = Snapshot(107.0)
    assert {("reconvirt_libvirt_stats_age_seconds", ""): 0} == ages()


def test_before_the_first_collection(exposition: Exposition, collected: Collected) -> None:
    collected.snapshot = None
    for accept in ("", ACCEPT):
        body = gzip.decompress(exposition.answer(accept, "gzip").body)
        assert b"things_total 3.0" in body
        assert b"reconvirt_virtual_server_running" not in body


def test_a_snapshot_is_rendered_once_and_before_it_is_asked_for(
    exposition: Exposition, collected: Collected
) -> None:
    exposition.prepare()
    assert {} == exposition._kept, "nobody has asked yet"
    exposition.answer(ACCEPT, "gzip")
    _, body = exposition._kept[True, True]
    exposition.answer(ACCEPT, "gzip")
    assert body is exposition._kept[True, True][1]
    collected.snapshot = Snapshot(100.0, (server("z"),))
    exposition.prepare()
    assert [(True, True)] == list(exposition._kept)
    assert b'"z"' in gzip.decompress(exposition._kept[True, True][1])
