"""Claims in a real etcd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed import Two, wait_until
from testbed.etcd import EtcdServer

Name = Callable[..., str]
UNSAFE = {"migration": {"unsafe": True}}


@pytest.fixture
def etcd(two: Two, tmp_path: Path) -> Iterator[EtcdServer]:
    """An etcd that both daemons use."""
    server = EtcdServer(two.hosts[0].slot, tmp_path, two.hosts[0].address)
    server.start()
    two.configure(claims="etcd", etcd__endpoints=[server.url])
    yield server
    server.kill()


def test_the_claim_moves_with_the_virtual_server(
    two: Two, etcd: EtcdServer, unique_name: Name
) -> None:
    """It says which host has it, before and after."""
    name = unique_name()
    two.desired.manifest(name, host="zhost1", policy=UNSAFE)
    two.start()
    two.wait_for_move(name, 0)
    before = etcd.values("/reconvirt/claims/")

    two.desired.manifest(name, host="zhost2", policy=UNSAFE)
    two.wait_for_move(name, 1)

    def moved() -> bool:
        return etcd.values("/reconvirt/claims/") == ["zhost2"]

    assert before == ["zhost1"]
    wait_until(moved, 30, "the claim to move")


def test_without_etcd_nothing_stops_and_nothing_starts(
    two: Two, etcd: EtcdServer, unique_name: Name
) -> None:
    """What runs goes on; what shall start or move waits until etcd is back."""
    name, other = unique_name(), unique_name()
    two.desired.manifest(name, host="zhost1", policy=UNSAFE)
    two.start()
    two.wait_for_move(name, 0)

    etcd.kill()
    two.desired.manifest(name, host="zhost2", policy=UNSAFE)
    two.desired.manifest(other, host="zhost1", state="paused")

    def told(number: int, which: str) -> bool:
        lines = two.daemons[number].logged("waiting", virtual_server=which)
        return any("etcd cannot be asked" in line["message"] for line in lines)

    wait_until(lambda: told(0, name) and told(0, other), 60, "both to wait for etcd")
    assert (two.state(0, name), two.state(1, name), two.state(0, other)) == ("running", "", "")

    etcd.start()
    two.wait_for_move(name, 1)
    two.wait_for_move(other, 0, "paused")


def test_the_claim_goes_where_an_evacuated_one_has_gone(
    two: Two, etcd: EtcdServer, unique_name: Name
) -> None:
    """The first of its other hosts cannot be reached; the second has it, and its claim."""
    name = unique_name()
    two.desired.manifest(name, state="paused", host="zhost1", policy=UNSAFE)
    two.start()
    two.wait_for_move(name, 0, "paused")

    away = f"qemu+tcp://{two.hosts[1].address.rpartition('.')[0]}.77/system"
    two.desired.host(two.hosts[1], name="zhost3", uri=away)
    two.desired.manifest(
        name, state="paused", host="zhost1", hosts=["zhost3", "zhost2"], policy=UNSAFE
    )
    two.desired.host(two.hosts[0], maintenance={"evacuate": True})
    two.wait_for_move(name, 1, "paused")

    def follows() -> bool:
        return etcd.values("/reconvirt/claims/") == ["zhost2"]

    wait_until(follows, 60, "the claim to follow")


def test_etcd_goes_in_the_middle_of_a_migration(
    two: Two, etcd: EtcdServer, unique_name: Name
) -> None:
    """What moves arrives; its claim follows when etcd is back."""
    name = unique_name()
    slow = {"migration": {"unsafe": True, "bandwidth": 1}}
    two.desired.manifest(name, host="zhost1", policy=slow)
    two.start()
    two.hosts[0].console(name).wait_for("^GUEST cpus=")
    two.desired.manifest(name, host="zhost2", policy=slow)
    two.wait_until_moving(name)

    etcd.kill()
    two.hosts[0].virsh("migrate-setspeed", name, "100")
    two.wait_for_move(name, 1)
    etcd.start()

    def follows() -> bool:
        return etcd.values("/reconvirt/claims/") == ["zhost2"]

    wait_until(follows, 60, "the claim to follow")
