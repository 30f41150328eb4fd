"""Metrics on a real libvirt: each number is what virsh prints, and nothing that hangs holds it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed import (
    Daemon,
    Desired,
    Guest,
    LibvirtHost,
    Reconvirt,
    Scrape,
    VirshError,
    address_of,
    disk,
    domain_xml,
    interface,
    scrape,
    wait_until,
)
from testbed.hang import emulator, stopped
from testbed.program import PROGRAM

Name = Callable[..., str]

pytestmark = pytest.mark.usefixtures("examined")

SOON = 60.0  # seconds
SETTINGS = """
[metrics]
listen = "127.0.0.1:0"
interval_seconds = 1
timeout_seconds = 2
refresh_seconds = 2
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Configuration that serves on a free port and collects every second."""
    path = tmp_path / "metrics.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    return path


def table(text: str) -> dict[str, str]:
    """What virsh prints as NAME: VALUE or as NAME VALUE."""
    pairs = [re.split(r"\s*:\s+|\s+", line.strip(), maxsplit=1) for line in text.splitlines()]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def until(daemon: Daemon, seen: Callable[[Scrape], object], what: str) -> Scrape:
    """Scrape until something is to be seen; that scrape."""
    address = address_of(daemon)
    last: list[Scrape] = []

    def look() -> bool:
        last[:] = [scrape(address)]
        return bool(seen(last[0]))

    wait_until(look, SOON, what)
    return last[0]


def fresh(daemon: Daemon, name: str, what: Callable[[], str]) -> tuple[Scrape, str]:
    """What virsh prints, and a scrape of the same moment: virsh prints the same afterwards."""
    for _ in range(20):
        before = what()
        begin = time.monotonic()

        def young(found: Scrape, begin: float = begin) -> bool:
            age = found.value("reconvirt_libvirt_stats_age_seconds")
            return age is not None and age < time.monotonic() - begin

        found = until(daemon, young, "a collection after what virsh printed")
        if what() == before:
            return found, before
    raise AssertionError(f"{name} never stands still: {before}")


# The guest writes to its disk and reads from it, and asks on its interface for an address.
_WORK = (
    "busybox mkdir /dev; busybox mount -t devtmpfs dev /dev; "
    "/init & until busybox test -b /dev/vda -a -d /sys/class/net/eth0; do busybox sleep 1; done; "
    "busybox dd if=/dev/zero of=/dev/vda bs=64k count=32 conv=fsync; "
    "busybox dd if=/dev/vda of=/dev/null bs=64k count=64; "
    "busybox ip link set eth0 up; busybox udhcpc -n -q -t 3 -T 1 -i eth0; "
    "echo GUEST-WORKED; while :; do busybox sleep 9; done"
)


def test_each_number_is_what_virsh_prints(
    host: LibvirtHost,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    bridge: str,
    settings: Path,
    guest: Guest,
) -> None:
    """For a guest that has done disk and network I/O, in all the commands of chapter 23."""
    name = unique_name()
    mac = "52:54:00:00:6d:01"
    image = host.image(f"{name}-a")
    spec: dict[str, Any] = {
        "vcpu": {"maximum": 3, "current": 2},
        "iothreads": 1,
        "os": {
            "arch": "s390x",
            "machine": "s390-ccw-virtio",
            "kernel": str(guest.kernel),
            "initrd": str(guest.initrd),
            "cmdline": f'console=ttysclp0 rdinit=/bin/busybox -- sh -c "{_WORK}"',
        },
        "devices": {
            "disks": [disk(image, "vda", iothread=1)],
            "interfaces": [interface(bridge, mac)],
        },
    }
    desired.manifest(name, **spec)
    with reconvirt.run("--config", str(settings)) as daemon:
        host.console(name).wait_for(r"^GUEST-WORKED")
        host.virsh("setvcpus", name, "3", "--config")

        found, printed = fresh(daemon, name, lambda: host.virsh("domblkstat", name, "vda"))
        numbers = dict(line.split()[1:3] for line in printed.splitlines())
        for ours, theirs, scale in (
            ("block_read_requests_total", "rd_req", 1),
            ("block_read_bytes_total", "rd_bytes", 1),
            ("block_read_seconds_total", "rd_total_times", 1e-9),
            ("block_write_requests_total", "wr_req", 1),
            ("block_write_bytes_total", "wr_bytes", 1),
            ("block_flush_requests_total", "flush_operations", 1),
        ):
            mine = found.server(name, ours, device="vda", source=str(image))
            assert mine == pytest.approx(int(numbers[theirs]) * scale), ours
        assert int(numbers["rd_bytes"]) > 2**20
        assert int(numbers["wr_bytes"]) >= 2**21
        assert int(numbers["flush_operations"]) > 0

        device = host.virsh("domiflist", name).split()[0]
        found, printed = fresh(daemon, name, lambda: host.virsh("domifstat", name, device))
        numbers = {line.split()[1]: line.split()[2] for line in printed.splitlines()}
        for ours, theirs in (
            ("receive_bytes", "rx_bytes"),
            ("receive_packets", "rx_packets"),
            ("receive_errors", "rx_errs"),
            ("receive_drops", "rx_drop"),
            ("transmit_bytes", "tx_bytes"),
            ("transmit_packets", "tx_packets"),
            ("transmit_errors", "tx_errs"),
            ("transmit_drops", "tx_drop"),
        ):
            labels = {"interface": device, "mac": mac, "source": bridge}
            assert found.server(name, f"interface_{ours}_total", **labels) == int(numbers[theirs])
        assert int(numbers["tx_packets"]) > 0

        # libvirt sends no event for a changed configuration: it is seen when XML is read again.
        counts = [line.split() for line in host.virsh("vcpucount", name).splitlines()]
        assert ["current", "config", "3"] in counts
        until(
            daemon,
            lambda found: all(
                found.server(name, "vcpus", limit=limit, scope=scope) == int(count)
                for limit, scope, count in counts
            ),
            "the numbers of vCPUs that virsh prints",
        )

        found, printed = fresh(daemon, name, lambda: host.virsh("schedinfo", name))
        numbers = table(printed)
        assert found.server(name, "cpu_shares", scope="live") == int(numbers["cpu_shares"])
        for of in ("vcpu", "emulator", "global", "iothread"):
            for what in ("period", "quota"):
                mine = found.server(name, f"cpu_{what}_seconds", of=of, scope="live")
                theirs = int(numbers[f"{of}_{what}"])
                if theirs > 2**40:  # virsh prints a libvirt's -1 in two ways
                    theirs = -1
                assert mine == pytest.approx(theirs * 1e-6), (of, what)

        info = table(host.virsh("dominfo", name))
        assert found.server(name, "memory_maximum_bytes") == 192 * 2**20
        assert found.all(
            "reconvirt_virtual_server_info", virtual_server=name, uuid=info["UUID"], id=info["Id"]
        )
        assert found.server(name, "state_info", state="running", reason="booted") == 1
        assert found.server(name, "persistent") == (info["Persistent"] == "yes")
        assert found.server(name, "iothreads") == 1
        assert found.server(name, "block_capacity_bytes", device="vda") == 64 * 2**20

        desired.manifest(name, state="paused", **spec)
        until(
            daemon,
            lambda found: found.server(name, "state_info", state="paused", reason="user") == 1,
            "the paused state",
        )
        found, printed = fresh(daemon, name, lambda: host.virsh("dominfo", name))
        stated = re.search(r"CPU time:\s+([\d.]+)s", printed)
        assert stated is not None
        assert found.server(name, "cpu_seconds_total") == pytest.approx(
            float(stated.group(1)), abs=0.1
        )
        assert found.server(name, "condition", type="Ready") is not None


def test_nothing_that_hangs_holds_a_scrape(
    host: LibvirtHost,
    guest: Guest,
    reconvirt: Reconvirt,
    unique_name: Name,
    settings: Path,
) -> None:
    """One QEMU is stopped, another has a job; then libvirtd itself is stopped.

    How long a scrape takes meanwhile is measured by bench/metrics.py.
    """
    hung, busy, well = unique_name("hung"), unique_name("busy"), unique_name("well")
    for name in (hung, busy, well):
        host.define(domain_xml(name, guest, host.console_log(name)))
        host.virsh("start", name)

    def age(found: Scrape, name: str) -> float:
        return found.server(name, "stats_age_seconds") or 0.0

    with reconvirt.run("--config", str(settings)) as daemon:
        address = address_of(daemon)
        until(
            daemon,
            lambda found: all(found.server(each, "memory_resident_bytes") for each in (hung, well)),
            "all to be seen",
        )
        with stopped(emulator(host, hung)):
            found = until(daemon, lambda found: age(found, hung) > 6, "one to be stale")
            assert age(found, well) < 4
            assert found.server(hung, "memory_resident_bytes"), "its last numbers are kept"
            assert found.server(hung, "cpu_seconds_total")
            assert found.value("reconvirt_libvirt_stats_stuck_calls") == 1
            assert found.value("reconvirt_libvirt_stats_age_seconds") < 4
        until(daemon, lambda found: age(found, hung) < 3, "it to be fresh again")

        dump = host.directory / "images" / f"{busy}.core"
        with stopped(emulator(host, busy)):
            job = threading.Thread(target=_fails, args=(host, "dump", busy, str(dump)))
            job.start()
            found = until(daemon, lambda found: age(found, busy) > 5, "one with a job to be stale")
            assert age(found, well) < 4
        job.join()
        until(daemon, lambda found: age(found, busy) < 3, "it to be fresh again")

        libvirtd = int((host.directory / "libvirtd.pid").read_text(encoding="utf-8"))
        with stopped(libvirtd):
            found = until(
                daemon,
                lambda found: (found.value("reconvirt_libvirt_stats_age_seconds") or 0) > 5,
                "all to be stale",
            )
            assert age(found, well) > 4
            # No call of libvirt can come back now: who scrapes gets what is in memory, only older.
            ages = [
                scrape(address).value("reconvirt_libvirt_stats_age_seconds") or 0.0
                for _ in range(5)
            ]
            assert ages == sorted(set(ages))
            assert ages[0] > 5
        until(
            daemon,
            lambda found: (found.value("reconvirt_libvirt_stats_age_seconds") or 99) < 3,
            "all to be fresh again",
        )

        host.virsh("destroy", hung)
        host.virsh("undefine", hung)
        found = until(
            daemon, lambda found: f'"{hung}"' not in found.text, "no trace of who is gone"
        )


def _fails(host: LibvirtHost, *arguments: str) -> None:
    try:
        host.virsh(*arguments)
    except (VirshError, subprocess.SubprocessError):
        return


def test_on_the_command_line(
    host: LibvirtHost, guest: Guest, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """Without a daemon: printed, written to a file, and the exits of one virtual server."""
    runs, shut = unique_name("runs"), unique_name("off")
    for name in (runs, shut):
        host.define(domain_xml(name, guest, host.console_log(name)))
    host.virsh("start", runs)

    printed = reconvirt("metrics")
    assert f'reconvirt_virtual_server_running{{virtual_server="{runs}"}} 1.0' in printed
    assert f'reconvirt_virtual_server_running{{virtual_server="{shut}"}} 0.0' in printed
    assert f'virtual_server="{runs}",uuid="' in printed
    assert f'cpu_seconds_total{{virtual_server="{shut}"' not in printed
    file = tmp_path / "reconvirt.prom"
    reconvirt("metrics", "--textfile", file)
    assert "reconvirt_libvirt_stats_age_seconds" in file.read_text(encoding="utf-8")

    assert "it does not run" in reconvirt("exits", shut, status=1)
    assert "no such virtual server" in reconvirt("exits", f"{shut}-not", status=1)


def test_perf_itself_is_run_and_cleaned_up(
    host: LibvirtHost, guest: Guest, unique_name: Name, tmp_path: Path
) -> None:
    """An emulated guest has no KVM exits: perf's table is empty, or perf says why there is none."""
    name = unique_name()
    host.define(domain_xml(name, guest, host.console_log(name)))
    host.virsh("start", name)
    place = tmp_path / "recordings"
    place.mkdir()
    settings = tmp_path / "reconvirt.toml"
    settings.write_text(f'[metrics.perf]\ndirectory = "{place}"\n', encoding="utf-8")

    done = subprocess.run(
        [PROGRAM, "exits", name, "--config", settings, "--seconds", "0.5", "-o", "json"],
        env={**os.environ, "RECONVIRT_CONNECT": host.uri},
        capture_output=True,
        text=True,
        check=False,
    )

    if done.returncode:
        assert "perf: no" in done.stderr
    else:
        assert ("vmexit", 0, []) == tuple(
            json.loads(done.stdout)[each] for each in ("event", "count", "exits")
        )
    assert [] == list(place.iterdir())
