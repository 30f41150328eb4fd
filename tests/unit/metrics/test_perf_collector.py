"""Recording on a schedule: what adds up, what is forgotten, what it may cost, what goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from reconvirt.metrics.emulators import find_emulators
from reconvirt.metrics.perf_collector import PerfCollector
from reconvirt.metrics.perf_record import Window, record_window
from reconvirt.metrics.perf_report import Exit, Report, ReportError, Trouble
from reconvirt.metrics.settings import PerfSettings

TABLES = Path(__file__).parent / "perf"


def window(cost: float = 0.1, **reports: Report) -> Window:
    return Window(1.0, reports, cost, 5000, 2)


def report(*exits: tuple[str, int, float]) -> Report:
    rows = tuple(Exit(name, count, count * mean, mean, mean, mean) for name, count, mean in exits)
    return Report("vmexit", rows, sum(each.count for each in rows), 1.0)


class Perf:
    """Answers with what it was given."""

    def __init__(self, *answers: Window | ReportError) -> None:
        self.answers = list(answers)
        self.asked: list[Mapping[str, int]] = []

    def __call__(self, _settings: PerfSettings, processes: Mapping[str, int], _stop: Any) -> Window:
        self.asked.append(processes)
        answer = self.answers.pop(0)
        if isinstance(answer, ReportError):
            raise answer
        return answer


def collect(perf: Perf, *processes: Mapping[str, int]) -> CollectorRegistry:
    remaining = list(processes)
    collector = PerfCollector(
        PerfSettings(enabled=True, most_cost=0.05), lambda: remaining.pop(0), perf
    )
    registry = CollectorRegistry()
    registry.register(collector)
    for _ in processes:
        collector.look(lambda: False)
    return registry


def server(registry: CollectorRegistry, name: str, who: str, reason: str) -> float | None:
    labels = {"virtual_server": who, "reason": reason}
    return registry.get_sample_value(f"reconvirt_virtual_server_{name}", labels)


def test_windows_add_up() -> None:
    perf = Perf(
        window(a=report(("HLT", 5, 0.01), ("MSR", 1, 0.5))), window(a=report(("HLT", 2, 0.02)))
    )
    registry = collect(perf, {"a": 7}, {"a": 7})
    assert 7 == server(registry, "exits_recorded_total", "a", "HLT")
    assert server(registry, "exit_recorded_seconds_total", "a", "HLT") == pytest.approx(0.09)
    assert 1 == server(registry, "exits_recorded_total", "a", "MSR")
    assert 0.02 == server(registry, "exit_most_seconds", "a", "HLT")
    assert None is server(registry, "exit_most_seconds", "a", "MSR"), "not in the last window"
    assert 2 == registry.get_sample_value("reconvirt_perf_window_seconds_total")
    assert 2 == registry.get_sample_value("reconvirt_perf_windows_total", {"result": "success"})
    assert 4 == registry.get_sample_value("reconvirt_perf_lost_events_total")
    assert registry.get_sample_value("reconvirt_perf_cpu_seconds_total") == pytest.approx(0.2)
    assert 0 == registry.get_sample_value("reconvirt_perf_stopped")


def test_of_who_is_gone_nothing_is_left() -> None:
    both = window(a=report(("HLT", 5, 0.01)), b=report(("HLT", 5, 0.01)))
    registry = collect(Perf(both, window(b=report())), {"a": 7, "b": 8}, {"b": 8})
    assert None is server(registry, "exits_recorded_total", "a", "HLT")
    assert 5 == server(registry, "exits_recorded_total", "b", "HLT")


def test_without_virtual_servers_nothing_is_recorded() -> None:
    perf = Perf()
    collect(perf, {})
    assert [] == perf.asked


def test_it_stops_when_it_costs_too_much() -> None:
    perf = Perf(window(cost=10.0, a=report()))
    collector = PerfCollector(PerfSettings(enabled=True, every_seconds=1), lambda: {"a": 7}, perf)
    thread = threading.Thread(target=collector.run, args=(threading.Event(),))
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    registry = CollectorRegistry()
    registry.register(collector)
    assert 1 == registry.get_sample_value("reconvirt_perf_stopped")
    assert 10 == registry.get_sample_value("reconvirt_perf_cost_ratio")


def test_trouble_is_told() -> None:
    trouble = ReportError(Trouble.NO_TRACEPOINTS, "no")
    registry = collect(Perf(trouble), {"a": 7})
    name = "reconvirt_perf_trouble"
    assert 1 == registry.get_sample_value(name, {"trouble": "no tracepoints"})
    assert 0 == registry.get_sample_value(name, {"trouble": "not permitted"})
    assert 1 == registry.get_sample_value("reconvirt_perf_windows_total", {"result": "error"})


def program(tmp_path: Path, text: str) -> PerfSettings:
    """Settings with a program of these lines instead of perf."""
    path = tmp_path / "perf"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    (tmp_path / "private").mkdir()
    return PerfSettings(program=str(path), window_seconds=0.2, directory=str(tmp_path / "private"))


def test_a_recording_is_reported_and_removed(tmp_path: Path) -> None:
    settings = program(
        tmp_path,
        f"""
case "$*" in
*"stat record"*) stat -c %a "$HOME" > {tmp_path}/mode; echo x > "$6"; sleep 0.2 ;;
*"-p 7"*) cat {TABLES}/x86-old.txt >&2 ;;
*) cat {TABLES}/s390x-book.txt ;;
esac""",
    )
    seen = record_window(settings, {"a": 7, "b": 8})
    assert {"a": 8, "b": 29} == {name: len(each.exits) for name, each in seen.reports.items()}
    assert (0.2, 2) == (seen.seconds, seen.bytes)
    assert seen.cpu_seconds > 0
    assert "700\n" == (tmp_path / "mode").read_text(encoding="utf-8")
    assert [] == list(Path(settings.directory).iterdir())


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("echo 'Error: No permissions to read x' >&2; exit 129", Trouble.NOT_PERMITTED),
        ("exit 1", Trouble.UNKNOWN),
        ('echo x > "$6"', Trouble.UNKNOWN),
    ],
)
def test_what_goes_wrong_leaves_nothing(tmp_path: Path, text: str, trouble: Trouble) -> None:
    settings = program(tmp_path, text)
    with pytest.raises(ReportError) as raised:
        record_window(settings, {"a": 7})
    assert trouble is raised.value.trouble
    assert [] == list(Path(settings.directory).iterdir())


def test_no_perf_at_all() -> None:
    with pytest.raises(ReportError) as raised:
        record_window(PerfSettings(program="/none/perf"), {"a": 7})
    assert Trouble.NOT_INSTALLED is raised.value.trouble


def test_emulators_are_known_by_the_uuid_on_their_command_line(tmp_path: Path) -> None:
    for number, line in (
        ("12", "qemu-system-s390x -name guest=web1,debug-threads=on -uuid AB-CD -m 5"),
        ("13", "grep -uuid AB-CE"),
        ("14", "qemu -name guest=x -uuid"),
        ("self", "qemu -name guest=x -uuid 00-00"),
    ):
        (tmp_path / number).mkdir()
        (tmp_path / number / "cmdline").write_bytes(line.replace(" ", "\0").encode() + b"\0")
    (tmp_path / "15").mkdir()
    assert {"ab-cd": 12} == find_emulators(tmp_path)
