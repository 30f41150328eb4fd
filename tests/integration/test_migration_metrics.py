"""What a real daemon's metrics say of real migrations: the numbers of virsh domjobinfo."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from testbed import Guest, Scrape, Two, address_of, domain_xml, scrape, wait_until
from testbed.second import SecondHost
from testbed.waiting import limit

Name = Callable[..., str]
SLOW = {"migration": {"unsafe": True, "bandwidth": 1}}
FAST = {"migration": {"unsafe": True}}
OPTIONS = ("--live", "--p2p", "--persistent", "--undefinesource", "--unsafe")
PHASES = ("waiting", "running", "succeeded", "failed")
SOON = 60.0


@pytest.fixture
def watched(two: Two, examined: None) -> Two:
    """Two hosts; the daemon of the first serves metrics."""
    assert examined is None
    two.programs[0].configure(
        host_name=two.hosts[0].NAME,
        resync_seconds=20,
        metrics__enabled=True,
        metrics__listen="127.0.0.1:0",
        metrics__interval_seconds=1,
    )
    return two


def phase(found: Scrape, name: str) -> str:
    """The one phase that its migration is in; "" where there is none."""
    known = {
        each: found.value(
            "reconvirt_migration_phase", virtual_server=name, direction="out", phase=each
        )
        for each in PHASES
    }
    if set(known.values()) == {None}:
        return ""
    (now,) = [each for each, value in known.items() if value == 1]
    return now


def number(found: Scrape, name: str, what: str) -> float | None:
    """One number of its migration."""
    return found.value(f"reconvirt_migration_{what}", virtual_server=name, direction="out")


def job(two: Two, where: int, name: str, *options: str) -> dict[str, int]:
    """The numbers of virsh domjobinfo, as QEMU gives them."""
    printed = two.hosts[where].virsh("domjobinfo", name, "--rawstats", *options)
    pairs = [line.replace(":", " ").split() for line in printed.splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def ended(found: Scrape) -> dict[str, float]:
    """How many have ended, by how."""
    return {labels["result"]: value for labels, value in found.all("reconvirt_migrations_total")}


def test_a_migration_is_seen_from_its_beginning_to_its_end(watched: Two, unique_name: Name) -> None:
    """Slowed, its numbers lie between what virsh prints before and afterwards."""
    name = unique_name()
    watched.desired.manifest(name, host="zhost1", policy=SLOW)
    watched.start()
    address = address_of(watched.daemons[0])
    watched.hosts[0].console(name).wait_for("^GUEST cpus=")
    found = scrape(address)
    assert phase(found, name) == ""
    assert set(ended(found).values()) == {0}

    watched.desired.manifest(name, host="zhost2", policy=SLOW)
    watched.wait_until_moving(name)

    before = job(watched, 0, name)
    assert before["data_processed"] > 0
    found = wait_until(
        lambda: (
            each
            if (number(each := scrape(address), name, "seconds") or 0) * 1000
            > before["time_elapsed"]
            else None
        ),
        SOON,
        "a newer number than virsh's",
    )
    after = job(watched, 0, name)
    assert phase(found, name) == "running"
    for what, theirs, scale in (
        ("seconds", "time_elapsed", 1e-3),
        ("data_bytes", "data_processed", 1),
        ("remaining_bytes", "data_remaining", 1),
    ):
        ours = number(found, name, what)
        least, most = sorted((before[theirs] * scale, after[theirs] * scale))
        assert ours is not None
        assert least <= ours <= most, (what, before, ours, after)
    assert number(found, name, "downtime_seconds") is None, "it has not stood still yet"

    watched.hosts[0].virsh("migrate-setspeed", name, "1000")
    watched.wait_for_move(name, 1)
    found = wait_until(
        lambda: each if phase(each := scrape(address), name) == "succeeded" else None,
        SOON,
        "the end",
    )
    done = job(watched, 1, name, "--completed")
    assert number(found, name, "seconds") == pytest.approx(done["time_elapsed"] / 1000)
    assert number(found, name, "downtime_seconds") == pytest.approx(done["downtime"] / 1000)
    assert number(found, name, "data_bytes") == done["data_processed"]
    assert number(found, name, "remaining_bytes") == done["data_remaining"]
    assert ended(found) == {"moved": 1, "stayed": 0, "refused": 0, "unsure": 0}
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=found.text.encode(),
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_one_that_waits_for_the_destination_has_not_failed(
    watched: Two, unique_name: Name, guest: Guest
) -> None:
    """Another is arriving there by hand: it waits, no alert rings, and it moves afterwards."""
    host, second = watched.hosts
    name, other = unique_name(), unique_name("by-hand")
    assert isinstance(second, SecondHost)
    watched.desired.manifest(name, state="paused", host="zhost1", policy=FAST)
    watched.start()
    watched.wait_for_move(name, 0, "paused")
    address = address_of(watched.daemons[0])
    host.define(domain_xml(other, guest, host.console_log(other)))
    host.virsh("start", other)
    host.console(other).wait_for("^GUEST cpus=")
    command = ["virsh", "--connect", host.uri, "migrate", *OPTIONS, "--bandwidth", "1"]
    with subprocess.Popen([*command, other, second.remote_uri]) as by_hand:
        watched.wait_until_moving(other)

        watched.desired.manifest(name, state="paused", host="zhost2", policy=FAST)
        line = watched.daemons[0].wait_for("migration waits", virtual_server=name)
        found = scrape(address)

        assert "zhost2 takes no more at a time" in line["message"]
        assert line["level"] == "info"
        assert phase(found, name) == "waiting"
        assert set(ended(found).values()) == {0}
        host.virsh("migrate-setspeed", other, "1000")
        assert by_hand.wait(limit(SOON)) == 0
    watched.wait_for_move(name, 1, "paused")
    wait_until(lambda: phase(scrape(address), name) == "succeeded", SOON, "the end")
    assert watched.daemons[0].logged("migration not done") == []


def test_a_failure_is_forgotten_when_it_shall_stay(watched: Two, unique_name: Name) -> None:
    """What was refused counts as failed only for as long as it is wanted."""
    name = unique_name()
    watched.desired.host(watched.hosts[1], schedulable=False)
    watched.desired.manifest(name, state="paused", host="zhost1", policy=FAST)
    watched.start()
    watched.wait_for_move(name, 0, "paused")
    address = address_of(watched.daemons[0])

    watched.desired.manifest(name, state="paused", host="zhost2", policy=FAST)
    watched.daemons[0].wait_for("migration not done", virtual_server=name)
    found = scrape(address)
    assert phase(found, name) == "failed"
    assert ended(found) == {"moved": 0, "stayed": 0, "refused": 1, "unsure": 0}

    watched.desired.manifest(name, state="paused", host="zhost1", policy=FAST)
    wait_until(lambda: phase(scrape(address), name) == "", SOON, "the failure to be forgotten")
