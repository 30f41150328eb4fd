"""A virtual server never runs on two hosts, and never starts while another may have it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from testbed import Two, wait_until
from testbed.program import Daemon

Name = Callable[..., str]
ROUNDS = int(os.environ.get("RECONVIRT_TEST_RACES", "3"))
"""How often both daemons race; more by hand."""


def copies(two: Two, name: str) -> list[int]:
    """On which hosts there is a process of it."""
    return [number for number in (0, 1) if two.state(number, name) in ("running", "paused")]


def wait_to_be_told(daemon: Daemon, name: str, words: str, what: str) -> dict[str, Any]:
    """The last line that says with these words for what it waits."""

    def told() -> list[dict[str, Any]]:
        lines = daemon.logged("waiting", virtual_server=name)
        return [each for each in lines if words in each["message"]]

    return wait_until(told, 60, what)[-1]


def test_a_host_that_cannot_be_asked_may_have_it(two: Two, unique_name: Name) -> None:
    """It is not started until the other host is fenced, or answers."""
    name = unique_name()
    two.hosts[1].cut()
    two.desired.manifest(name, state="paused", host="zhost1")
    daemon = two.daemons[0].start()

    line = wait_to_be_told(daemon, name, "may have it", "the host that cannot be asked")
    assert "zhost2 may have it" in line["message"]
    assert "reconvirt host fenced zhost2" in line["message"]
    assert copies(two, name) == []

    two.programs[0]("host", "fenced", "zhost2", "--yes")
    daemon.reload()

    wait_until(lambda: copies(two, name) == [0], 60, "its start")


def test_it_does_not_start_where_its_manifest_is_ahead(
    two: Two, unique_name: Name, tmp_path: Path
) -> None:
    """One daemon reads that it is its own, while the other still has it: it waits."""
    name = unique_name()
    path = two.desired.manifest(name, state="paused", host="zhost1")
    two.programs[0].apply(name)
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["spec"]["host"] = "zhost2"
    ahead = tmp_path / "ahead"
    ahead.mkdir()
    for each in two.desired.path.glob("*.yaml"):
        (ahead / each.name).write_text(each.read_text(encoding="utf-8"), encoding="utf-8")
    (ahead / path.name).write_text(yaml.safe_dump(document), encoding="utf-8")

    with two.programs[1].run("--desired", str(ahead)) as daemon:
        line = wait_to_be_told(daemon, name, "zhost1 has it", "the host that has it")

    assert "zhost1 has it, paused" in line["message"]
    assert copies(two, name) == [0]


def test_both_daemons_race_with_manifests_that_differ(
    two: Two, unique_name: Name, tmp_path: Path
) -> None:
    """Each reads that it is its own: never do both start it."""
    ahead = tmp_path / "ahead"
    ahead.mkdir()
    other = two.programs[1].run("--desired", str(ahead))
    for _ in range(ROUNDS):
        name = unique_name()
        path = two.desired.manifest(name, state="paused", host="zhost1")
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        document["spec"]["host"] = "zhost2"
        for each in two.desired.path.glob("zhost*.yaml"):
            (ahead / each.name).write_text(each.read_text(encoding="utf-8"), encoding="utf-8")
        (ahead / path.name).write_text(yaml.safe_dump(document), encoding="utf-8")
        for daemon in (two.daemons[0], other):
            daemon.start()
        wait_until(lambda name=name: any(two.state(each, name) for each in (0, 1)), 30, name)
        for _ in range(20):
            assert len(copies(two, name)) <= 1
        for daemon in (two.daemons[0], other):
            daemon.kill()
        assert len(copies(two, name)) <= 1
        (ahead / path.name).unlink()
        two.desired.remove(name)


def test_both_daemons_start_at_once_with_one_manifest(two: Two, unique_name: Name) -> None:
    """The host that it states has it, alone."""
    for _ in range(ROUNDS):
        name = unique_name()
        two.desired.manifest(name, state="paused", host="zhost2")
        two.start()
        wait_until(lambda name=name: copies(two, name) == [1], 60, f"{name} on zhost2")
        assert two.state(0, name) == ""
        for daemon in two.daemons:
            daemon.kill()
        two.desired.remove(name)


def test_what_it_depends_on_may_be_on_another_host(two: Two, unique_name: Name) -> None:
    """It waits, whether the other host cannot be asked or the other one does not run there."""
    database, web = unique_name("database"), unique_name("web")
    two.desired.manifest(database, state="shutoff", host="zhost2")
    two.desired.manifest(web, state="paused", host="zhost1", dependsOn=[database])
    two.programs[1].apply(database)
    two.daemons[0].start()

    words = f"{database} (shut off on zhost2)"
    wait_to_be_told(two.daemons[0], web, words, "what the other host says")
    assert two.state(0, web) == "shut off"

    two.desired.manifest(database, host="zhost2")
    two.daemons[1].start()

    wait_until(lambda: copies(two, web) == [0], 90, f"{web} on zhost1")
    assert copies(two, database) == [1]
