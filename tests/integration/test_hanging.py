"""What hangs delays only itself: libvirtd, and QEMUs; and what the commands show of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from testbed import (
    Desired,
    Guest,
    LibvirtHost,
    Reconvirt,
    VirshError,
    domain_xml,
    wait_until,
)
from testbed.hang import emulator, stopped

Name = Callable[..., str]

LONG = 180.0


def maximum(host: LibvirtHost, name: str) -> str:
    """The number of vCPUs that it may have, as configured."""
    return host.virsh("vcpucount", name, "--maximum", "--config", timeout=120).strip()


def state(host: LibvirtHost, name: str) -> str:
    try:
        return host.virsh("domstate", name).strip()
    except VirshError:
        return ""


@contextlib.contextmanager
def hung(host: LibvirtHost, *names: str) -> Iterator[None]:
    """Their QEMUs do not move."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(stopped(emulator(host, name)))
        yield


@contextlib.contextmanager
def job_pending(host: LibvirtHost, name: str) -> Iterator[None]:
    """A call waits for the QEMU of a virtual server, which must hang."""

    def ask() -> None:
        with contextlib.suppress(VirshError, subprocess.SubprocessError):
            host.virsh("qemu-monitor-command", name, "--hmp", "info status", timeout=LONG)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: "occupied" in host.virsh("domcontrol", name), 60, "the call to be made")
    try:
        yield
    finally:
        # It comes back with the QEMU: whoever called this has it go on first.
        threading.Thread(target=thread.join).start()


def test_the_daemon_outlives_a_libvirtd_that_hangs_and_comes_back(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Calls are inside when the connection is given up, and come back later."""
    names = [unique_name("vs") for _ in range(8)]
    for name in names:
        desired.manifest(name, state="shutoff")
    reconvirt.configure(
        workers=8,
        glance_seconds=1,
        resync_seconds=2,
        metrics__enabled=True,
        metrics__listen="127.0.0.1:0",
        metrics__interval_seconds=1,
    )
    with reconvirt.run() as daemon:
        wait_until(lambda: all(state(host, name) for name in names), LONG, "all to be defined")
        for round_ in range(2):
            before = len(daemon.logged("connection to libvirt lost"))
            with host.silent_libvirtd():
                vcpu = {"maximum": 3 + round_, "current": 1}
                for name in names:
                    desired.manifest(name, state="shutoff", vcpu=vcpu)
                wait_until(
                    lambda before=before: len(daemon.logged("connection to libvirt lost")) > before,
                    LONG,
                    "the connection to be given up",
                )
                time.sleep(12)
            wait_until(
                lambda round_=round_: all(maximum(host, each) == str(3 + round_) for each in names),
                LONG,
                "the daemon to go on",
            )
            assert daemon.process.poll() is None


def test_more_than_five_hung_qemus_leave_the_others_served(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """No connection is lost, and no thread of libvirtd is used up."""
    slow = [unique_name("hung") for _ in range(7)]
    well = unique_name("well")
    for name in slow:
        desired.manifest(name, state="paused")
    desired.manifest(well, state="shutoff")
    reconvirt.configure(workers=4, glance_seconds=5, resync_seconds=300)
    with reconvirt.run() as daemon:
        wait_until(
            lambda: all(state(host, each) == "paused" for each in slow) and state(host, well),
            LONG,
            "all to be there",
        )
        for number, iothreads in ((3, 1), (7, 2)):
            with hung(host, *slow[:number]):
                for name in slow[:number]:
                    desired.manifest(name, state="paused", iothreads=iothreads)
                time.sleep(4)
                began = time.monotonic()
                desired.manifest(well, state="shutoff", vcpu={"maximum": number + 2, "current": 1})
                wait_until(
                    lambda number=number: maximum(host, well) == str(number + 2),
                    LONG,
                    "a healthy one to be served",
                )
                took = time.monotonic() - began
                assert took < 60
            wait_until(
                lambda: all(state(host, each) == "paused" for each in slow), LONG, "all to answer"
            )
        assert [] == daemon.logged("connection to libvirt lost")
        assert daemon.logged("a call to libvirt does not come back; another worker takes over")
        for name in slow:
            wait_until(
                lambda name=name: "1" in host.virsh("iothreadinfo", name), LONG, "it to be served"
            )


def test_what_is_known_to_hang_is_named_by_the_commands_and_the_rest_is_shown(
    host: LibvirtHost,
    guest: Guest,
    desired: Desired,
    reconvirt: Reconvirt,
    unique_name: Name,
    tmp_path: Path,
) -> None:
    """plan, get, import and apply with one QEMU that hangs while a call waits for it."""
    slow, well, other = unique_name("hung"), unique_name("well"), unique_name("other")
    for name in (slow, well):
        desired.manifest(name, state="paused")
    reconvirt.apply(slow, well)
    host.define(domain_xml(other, guest, host.console_log(other)))
    with hung(host, slow), job_pending(host, slow):
        time.sleep(6)
        desired.manifest(well, state="paused", iothreads=1)

        planned = {each["name"]: each for each in reconvirt.plan(status=1)["virtualServers"]}
        assert planned[well]["steps"]
        (refused,) = planned[slow]["refused"]
        assert "has not answered" in refused["reason"]
        assert slow in reconvirt("plan", status=1)

        rows = reconvirt("get")
        assert "has not answered" in next(each for each in rows.splitlines() if slow in each)
        assert well in rows

        folder = tmp_path / "imported"
        said = reconvirt("import", "--all", "--output-dir", folder, status=1)
        assert f"{slow}: not imported: its QEMU has not answered" in said
        assert {f"{well}.yaml", f"{other}.yaml"} <= {each.name for each in folder.iterdir()}

        began = time.monotonic()
        done = {
            each["name"]: each
            for each in reconvirt.json("apply", "--timeout", "20", status=1)["virtualServers"]
        }
        assert time.monotonic() - began < 90
        assert "converged" == done[well]["phase"]
        assert "failed" == done[slow]["phase"]


def test_apply_keeps_its_timeout_while_a_qemu_hangs(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """No call is known to hang in it yet: the first one does."""
    slow = unique_name("hung")
    desired.manifest(slow, state="paused")
    reconvirt.apply(slow)
    desired.manifest(slow, state="paused", iothreads=1)
    with hung(host, slow):
        began = time.monotonic()
        (found,) = reconvirt.json("apply", "--timeout", "5", status=1)["virtualServers"]
        took = time.monotonic() - began
    assert "failed" == found["phase"]
    assert took < 60


def test_no_input_ends_the_source_or_the_output(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """A directory that is a link to itself for a while, and a bad file whose name is no UTF-8."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    with reconvirt.run() as daemon:
        wait_until(lambda: state(host, name), LONG, "it to be defined")
        kept = desired.path.with_name("kept")
        desired.path.rename(kept)
        desired.path.symlink_to(desired.path)
        daemon.wait_for("manifests read", LONG, problems=1)
        desired.path.unlink()
        kept.rename(desired.path)
        Path(os.fsdecode(os.fsencode(desired.path) + b"/\xff.yaml")).write_bytes(b"{")
        wait_until(
            lambda: r"\\xff.yaml" in json.dumps(reconvirt.json("get")), LONG, "it to be told"
        )
        assert name in reconvirt("get")
        assert r"\\xff.yaml" in json.dumps(reconvirt.plan(status=1))
        assert reconvirt("plan", status=1)
        desired.manifest(name, state="shutoff", vcpu={"maximum": 3, "current": 1})
        wait_until(lambda: maximum(host, name) == "3", LONG, "a changed manifest to be taken over")
        assert [] == daemon.logged("unexpected error, please report it")
