"""Dashboards, rules and metrics before Prometheus' own tools, and a real Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import (
    Desired,
    LibvirtHost,
    Prometheus,
    Reconvirt,
    address_of,
    disk,
    interface,
    scrape,
    wait_until,
)

Name = Callable[..., str]

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
TABLES = ROOT / "tests" / "unit" / "metrics" / "perf"

# Recorded on another machine: guests are emulated here and have no KVM exits.
PERF = """#!/bin/sh
case "$*" in
*"stat record"*) echo recorded > "$6"; sleep 0.2 ;;
*) cat {table} ;;
esac
"""
SETTINGS = """
[metrics]
listen = "127.0.0.1:0"
interval_seconds = 1
[metrics.perf]
enabled = true
program = "{program}"
every_seconds = 1
window_seconds = 0.2
most_cost = 1
"""


def queries(path: Path) -> Iterator[tuple[str, str]]:
    """The panels' titles and queries of a dashboard."""
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def filled_in(expression: str, name: str) -> str:
    """A query as Grafana sends it."""
    variables = {"instance": ".+", "virtual_server": name, "__rate_interval": "30s"}
    filled = re.sub(r"\$(\w+)", lambda found: variables[found.group(1)], expression)
    assert "$" not in filled
    return filled


def test_rules_and_their_tests() -> None:
    for command in (
        ["promtool", "check", "config", "prometheus.yml"],
        ["promtool", "test", "rules", "rules-test.yml"],
    ):
        done = subprocess.run(command, cwd=RULES, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout + done.stderr


def test_every_alert_has_a_runbook_and_a_test() -> None:
    text = (RULES / "alert-rules.yml").read_text(encoding="utf-8")
    alerts = re.findall(r"- alert: (\w+)", text)
    tested = (RULES / "rules-test.yml").read_text(encoding="utf-8")
    assert len(alerts) == len(set(alerts)) == text.count("runbook:") == text.count("summary:")
    assert set(alerts) == set(re.findall(r"alertname: (\w+)", tested))


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_are_whole(path: Path) -> None:
    board: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert f"reconvirt-{path.stem}" == board["uid"]
    names = {each["name"] for each in board["templating"]["list"]}
    assert {"datasource", "instance"} <= names
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or panel["targets"]
    used = set(re.findall(r"\$(\w+)", " ".join(each for _, each in queries(path))))
    assert used - {"__rate_interval"} <= names


@pytest.mark.usefixtures("examined")
def test_every_query_returns_data(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    bridge: str,
    tmp_path: Path,
) -> None:
    """From a real Prometheus that has scraped a real daemon with a real guest."""
    program = tmp_path / "perf"
    program.write_text(PERF.format(table=TABLES / "s390x-book.txt"), encoding="utf-8")
    program.chmod(0o755)
    settings = tmp_path / "reconvirt.toml"
    settings.write_text(SETTINGS.format(program=program), encoding="utf-8")
    name = unique_name()
    devices = {
        "disks": [disk(host.image(f"{name}-a"), "vda", iothread=1)],
        "interfaces": [interface(bridge, "52:54:00:00:6d:02")],
        "memballoon": {"model": "virtio"},
    }
    desired.manifest(name, iothreads=1, devices=devices)

    with reconvirt.run("--config", str(settings)) as daemon:
        daemon.wait_for("converged", virtual_server=name)
        address = address_of(daemon)
        with Prometheus(tmp_path / "prometheus", address, RULES / "recording-rules.yml") as server:
            host.console(name).wait_for(r"^GUEST cpus=0 blk=vda")
            host.virsh("dommemstat", name, "--period", "1", "--live")
            desired.manifest(name, iothreads=2, devices=devices)
            wait_until(
                lambda: scrape(address).server(name, "iothreads") == 2, 120, "another I/O thread"
            )
            desired.manifest(name, iothreads=2, devices=devices, vcpu={"maximum": 3, "current": 1})
            daemon.wait_for("restart required", virtual_server=name)

            missing: list[str] = []

            def all_there() -> bool:
                missing[:] = [
                    f"{path.stem}: {title}: {expression}"
                    for path in DASHBOARDS
                    for title, expression in queries(path)
                    if not server.query(filled_in(expression, name))
                ]
                return not missing

            try:
                wait_until(all_there, 120, "every query to return data")
            except (AssertionError, urllib.error.HTTPError) as error:
                raise AssertionError("\n".join(missing) or str(error)) from error

            recorded = re.findall(
                r"record: (\S+)", (RULES / "recording-rules.yml").read_text(encoding="utf-8")
            )
            wait_until(lambda: all(map(server.query, recorded)), 120, f"values of {recorded}")

        found = scrape(address)
        checked = subprocess.run(
            ["promtool", "check", "metrics"],
            input=found.text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ("", 0) == (checked.stdout + checked.stderr, checked.returncode)
        virtio = "DIAG (0x500) KVM virtio functions"
        assert found.server(name, "exits_recorded_total", reason=virtio)
        assert found.value("reconvirt_convergence_seconds_count") >= 1
