"""Fixtures that give tests a real libvirt host with real guests; see the package testbed.

A test that uses `host`, directly or not, is marked `libvirt`.
"""

import re
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from testbed import (
    Desired,
    Guest,
    LibvirtHost,
    Reconvirt,
    SecondHost,
    SwitchTakenError,
    Two,
    domain_xml,
)
from testbed.lacks import Lack, counted, reason_of, refuse_others, require_root, skip
from testbed.programs import watch_processes

watch_processes()


@pytest.hookimpl(tryfirst=True)  # before -m chooses by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "host" in getattr(item, "fixturenames", ()):
            item.add_marker("libvirt")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_others(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_others(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("tests skipped for what this machine lacks")
        for line in counted(map(reason_of, skipped)):
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def host() -> Iterator[LibvirtHost]:
    """The private libvirt host, one for the whole run."""
    require_root()  # for namespaces, control groups and bridges
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as after Ctrl-C
    with LibvirtHost.take() as started:
        yield started


@pytest.fixture(scope="session")
def second_host(host: LibvirtHost) -> Iterator[SecondHost]:
    """Another libvirt host beside the first, connected with it."""
    with SecondHost(host) as started:
        yield started


@pytest.fixture
def pair(
    host: LibvirtHost, second_host: SecondHost, unique_name: Callable[..., str]
) -> Iterator[tuple[LibvirtHost, SecondHost]]:
    """Both hosts; virtual servers that bear a unique name are gone from both after the test."""
    assert unique_name
    yield host, second_host
    second_host.mend()
    second_host.destroy_everything()


@pytest.fixture(scope="session")
def cpu_controller(host: LibvirtHost, guest: Guest) -> None:
    """For tests with CPU shares: libvirt's own virsh can set them here."""
    name = host.unique_name("shares")
    host.define(domain_xml(name, guest, host.console_log(name)))
    host.virsh("start", "--paused", name)
    try:
        host.virsh("schedinfo", name, "--set", "cpu_shares=77")
        if not re.search(r"cpu_shares\s*: 77$", host.virsh("schedinfo", name), re.MULTILINE):
            skip(Lack.CPU_GROUPS)  # as under a systemd without CPU controller
    finally:
        host.destroy_everything()


@pytest.fixture(scope="session")
def examined(host: LibvirtHost) -> None:
    """For tests of metrics: libvirt has run each emulator.

    A new libvirtd does so at the first call for statistics, and definitions wait for it.
    """
    host.virsh("capabilities", timeout=280)


@pytest.fixture(scope="session")
def guest(host: LibvirtHost) -> Guest:
    """The tiny s390x guest, built once."""
    return Guest.build_into(host.directory / "guest")


@pytest.fixture
def unique_name(host: LibvirtHost) -> Iterator[Callable[..., str]]:
    """Makes names for virtual servers; all that bear one are gone after the test."""
    yield host.unique_name
    host.destroy_everything()


@pytest.fixture(scope="session")
def bridge(host: LibvirtHost) -> str:
    """A network bridge of the machine, removed when the host stops."""
    return host.bridge()


@pytest.fixture(scope="session")
def switch(host: LibvirtHost) -> str:
    """An Open vSwitch bridge in user space, gone when the host stops."""
    try:
        return host.switch()
    except SwitchTakenError:
        skip(Lack.SWITCH)


@pytest.fixture(scope="session")
def macvtap_parent(host: LibvirtHost) -> str:
    """An interface of the machine for NICs of type direct, removed when the host stops."""
    return host.macvtap_parent()


@pytest.fixture
def desired(tmp_path: Path, host: LibvirtHost, guest: Guest) -> Desired:
    """An empty directory of desired manifests."""
    directory = tmp_path / "desired"
    directory.mkdir()
    return Desired(directory, host, guest)


@pytest.fixture
def reconvirt(host: LibvirtHost, desired: Desired, tmp_path: Path) -> Reconvirt:
    """The program, on the private host and the directory `desired`."""
    return Reconvirt(host, desired.path, tmp_path)


@pytest.fixture
def two(pair: tuple[LibvirtHost, SecondHost], desired: Desired, tmp_path: Path) -> Iterator[Two]:
    """Two hosts and their daemons, which are not started."""
    both = Two(pair, desired, tmp_path)
    yield both
    both.stop()
