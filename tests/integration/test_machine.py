"""The package on a machine with a real systemd, a real libvirtd and a real guest."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.lacks import Lack, skip
from testbed.machine import CommandFailed, Machine
from testbed.package import (
    IMAGES,
    MANIFEST,
    SOON,
    entries,
    machine_with_package,
    manifest,
    qemu,
    running,
    show,
    vcpus,
)
from testbed.waiting import wait_until

TRACEPOINTS = Path("/sys/kernel/tracing/events/kvm/kvm_entry")
# Wherever a file stands, the daemon's workers do nothing any more, or take their time.
HANG = """
import os, time

def install():
    from reconvirt.controller.reconcile import Reconciler
    from reconvirt.hypervisor.connection import Hypervisor
    reconcile, act = Reconciler.reconcile, Hypervisor.act

    def hanging(self, *arguments, **keywords):
        while os.path.exists("/run/test-hang"):
            time.sleep(0.1)
        return reconcile(self, *arguments, **keywords)

    def slow(self, *arguments, **keywords):
        result = act(self, *arguments, **keywords)
        if os.path.exists("/run/test-slow"):
            time.sleep(8)
        return result

    Reconciler.reconcile, Hypervisor.act = hanging, slow
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The machine, with the package installed as an administrator would."""
    with machine_with_package(tmp_path_factory.mktemp("packages")) as machine:
        yield machine


def test_what_the_package_brings(installed: Machine) -> None:
    """A user of its own, units that systemd likes, manual pages, completion; nothing starts."""
    assert "libvirt" in installed("id", "--name", "--groups", "reconvirt").split()
    assert "inactive" == installed("systemctl", "is-active", "reconvirtd", status=3)
    units = [f"/lib/systemd/system/reconvirt{each}" for each in ("d.service", "-sync.timer")]
    assert "" == installed("systemd-analyze", "verify", "--man=no", *units)
    for page in (
        *("reconvirt", "reconvirtd", "reconvirt.toml"),
        *("reconvirt-manifest", "reconvirt-conditions"),
    ):
        assert "reconvirt" in installed("man", "--where", page)
    assert "good: /etc/reconvirt/reconvirt.toml" == installed("reconvirt", "config", "check")
    listed = installed.shell("ls /usr/share/reconvirt/schemas /usr/share/zsh/vendor-completions")
    assert "reconvirt-config-v1.schema.json" in listed
    assert "_reconvirt" in listed


def test_the_sandbox_is_tight(installed: Machine) -> None:
    """As systemd measures it."""
    for unit in ("reconvirtd.service", "reconvirt-sync.service"):
        told = installed("systemd-analyze", "security", "--no-pager", unit).splitlines()[-1]
        assert 3.0 > float(told.partition(": ")[2].split()[0]), told


def test_start_is_over_when_every_virtual_server_was_looked_at(installed: Machine) -> None:
    """And the guest boots: sandboxed, as a user of its own, on a real libvirtd."""
    manifest(installed)

    installed("systemctl", "start", "reconvirtd")

    assert "active" == show(installed, "ActiveState")
    assert "running" == installed("virsh", "domstate", "web1")
    status = wait_until(lambda: show(installed, "StatusText"), SOON, "a status line")
    assert status.startswith("1 virtual server, revision ")
    assert "reconvirt" == installed("ps", "-o", "user=", "-p", show(installed, "MainPID"))

    def booted() -> bool:
        return "GUEST-UP" in installed("cat", "/var/log/libvirt/web1.log", status=None)

    wait_until(booted, SOON, "the guest to boot")


def test_the_journal_has_fields(installed: Machine) -> None:
    """Found by the name of the virtual server."""
    steps = entries(installed, "VIRTUAL_SERVER=web1", "EVENT=step done")

    assert ["define", "start"] == list(dict.fromkeys(each["STEP"] for each in steps))[:2]
    assert "6" == steps[0]["PRIORITY"]
    assert steps[0]["RECONCILE"]
    assert "memory" in steps[0]["FIELD"]
    assert "running" in [each.get("NEW") for each in steps if each["STEP"] == "start"]
    assert "step done" in steps[0]["MESSAGE"]


def test_a_reload_keeps_the_work_going(installed: Machine) -> None:
    """The same process, the new settings; a bad file changes nothing and is told."""
    process, started = show(installed, "MainPID"), qemu(installed, "web1")
    installed.write("/etc/reconvirt/conf.d/level.toml", 'log_level = "debug"\n')
    installed("systemctl", "reload", "reconvirtd")
    wait_until(
        lambda: entries(installed, "EVENT=configuration reloaded"), SOON, "the reload to be logged"
    )
    wait_until(lambda: show(installed, "ActiveState") == "active", SOON, "it to be active again")
    installed.write("/etc/reconvirt/conf.d/level.toml", 'log_levle = "debug"\n')
    assert "did you mean log_level" in installed.shell("reconvirt config check 2>&1 || true")
    installed("systemctl", "reload", "reconvirtd")
    (told,) = wait_until(
        lambda: entries(installed, "EVENT=configuration not reloaded"), SOON, "the refusal"
    )
    assert "did you mean log_level" in told["ERROR"]
    installed("rm", "/etc/reconvirt/conf.d/level.toml")

    manifest(installed, vcpus=2)
    wait_until(lambda: vcpus(installed, "web1") == "2", SOON, "the second vCPU")
    assert (process, started) == (show(installed, "MainPID"), qemu(installed, "web1"))


def test_cpu_shares_are_set_in_control_groups(installed: Machine) -> None:
    """What the manifest says is what the kernel has, at the start and while it runs."""
    if not installed.sets_cpu_shares:
        skip(Lack.CPU_GROUPS)
    started = qemu(installed, "web1")
    text = MANIFEST.format(name="web1", vcpus=2, images=IMAGES)
    installed.write("/etc/reconvirt/desired/web1.yaml", f"{text}  cputune: {{shares: 700}}\n")
    wait_until(lambda: cpu_shares(installed, "web1") == ["700"] * 2, SOON, "its CPU shares")
    assert started == qemu(installed, "web1")

    text = MANIFEST.format(name="tuned1", vcpus=1, images=IMAGES)
    installed.write("/etc/reconvirt/desired/tuned1.yaml", f"{text}  cputune: {{shares: 300}}\n")
    wait_until(lambda: running(installed, "tuned1"), SOON, "the other one")
    assert ["300"] * 2 == cpu_shares(installed, "tuned1")
    installed("rm", "/etc/reconvirt/desired/tuned1.yaml")
    installed("virsh", "destroy", "tuned1")


def cpu_shares(machine: Machine, name: str) -> list[str]:
    """As libvirt tells it, and as it stands in the group of the virtual server's process."""
    told = machine("virsh", "schedinfo", "--live", name)
    (shares,) = re.findall(r"^cpu_shares\s*: (\d+)$", told, re.MULTILINE)
    groups = machine("cat", f"/proc/{qemu(machine, name)}/cgroup")
    (group,) = re.findall(r"^\d+:cpu:(/.*\.scope)/", groups, re.MULTILINE)
    return [shares, machine("cat", f"/sys/fs/cgroup/cpu{group}/cpu.shares")]


def test_guests_survive_a_restart_an_upgrade_and_a_stop(installed: Machine) -> None:
    """They are libvirt's; the daemon takes them up again without a writing call."""
    process, started = show(installed, "MainPID"), qemu(installed, "web1")
    installed("systemctl", "restart", "reconvirtd")
    installed.shell("dpkg --install /mnt/packages/*.deb")
    assert show(installed, "MainPID") != process
    assert "active" == show(installed, "ActiveState")
    installed("systemctl", "stop", "reconvirtd")

    assert "success" == show(installed, "Result")
    assert started == qemu(installed, "web1")
    assert "running" == installed("virsh", "domstate", "web1")


@pytest.fixture
def breakable(installed: Machine) -> Iterator[Machine]:
    """The daemon stopped, with a fault built in, and watched closely."""
    installed("systemctl", "stop", "reconvirtd")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    place = f"/usr/local/lib/python{version}/dist-packages"
    installed("mkdir", "-p", place, "/etc/systemd/system/reconvirtd.service.d")
    installed.write(f"{place}/fault.py", HANG)
    launcher = installed("cat", "/usr/bin/reconvirt")
    installed.write(
        "/usr/bin/reconvirt",
        launcher.replace("\nmain()", "\nimport fault\n\nfault.install()\nmain()"),
    )
    installed("chmod", "0755", "/usr/bin/reconvirt")
    installed.write(
        "/etc/systemd/system/reconvirtd.service.d/test.conf", "[Service]\nWatchdogSec=8s\n"
    )
    installed.write("/etc/reconvirt/conf.d/stuck.toml", "stuck_seconds = 5\nresync_seconds = 1\n")
    installed("systemctl", "daemon-reload")
    installed("systemctl", "start", "reconvirtd")
    yield installed
    installed.shell("systemctl stop reconvirtd; rm -f /run/test-* /etc/reconvirt/conf.d/stuck.toml")
    installed.shell("cd /etc/reconvirt/desired; rm -f idle* new1.yaml")
    installed.shell("for n in 2 3 4 5; do virsh destroy idle$n; done 2> /dev/null || true")
    installed.shell("rm -r /etc/systemd/system/reconvirtd.service.d; systemctl daemon-reload")
    installed.write("/usr/bin/reconvirt", launcher)
    installed("chmod", "0755", "/usr/bin/reconvirt")


def test_workers_that_hang_are_noticed_and_the_daemon_is_restarted(breakable: Machine) -> None:
    """By systemd's watchdog; the journal tells where the threads were, guests run on."""
    for number in range(2, 6):  # as many as there are workers, and one more
        manifest(breakable, f"idle{number}")
    wait_until(
        lambda: show(breakable, "StatusText").startswith("5 virtual servers, revision"),
        SOON,
        "all to be as wanted",
    )
    process, started = show(breakable, "MainPID"), qemu(breakable, "web1")

    breakable("touch", "/run/test-hang")
    wait_until(lambda: show(breakable, "NRestarts") == "1", SOON, "the watchdog to bite")
    breakable("rm", "/run/test-hang")

    wait_until(lambda: show(breakable, "ActiveState") == "active", SOON, "it to be ready again")
    assert process != show(breakable, "MainPID")
    assert started == qemu(breakable, "web1")
    (told,) = entries(breakable, "EVENT=no sign of life", f"_PID={process}")
    assert "workers busy" == told["PARTS"]
    assert any(
        "reconcile.py" in e["MESSAGE"] or "fault.py" in e["MESSAGE"] for e in entries(breakable)
    )


def test_a_stop_lets_the_step_in_hand_end(breakable: Machine) -> None:
    """Also one that takes longer than the unit's limit: the daemon asks for patience."""
    drop_in = "/etc/systemd/system/reconvirtd.service.d/stop.conf"
    breakable.write(drop_in, "[Service]\nTimeoutStopSec=3s\n")
    breakable.write("/etc/reconvirt/conf.d/stuck.toml", "stuck_seconds = 60\n")
    breakable("systemctl", "daemon-reload")
    breakable("systemctl", "restart", "reconvirtd")
    breakable("touch", "/run/test-slow")
    manifest(breakable, "new1")
    wait_until(lambda: "new1" in breakable("virsh", "list", "--all", "--name"), SOON, "a step")

    breakable("systemctl", "stop", "reconvirtd")

    assert "success" == show(breakable, "Result")
    assert entries(breakable, "EVENT=step done", "VIRTUAL_SERVER=new1", "STEP=define")
    assert entries(breakable, "EVENT=stopped")
    assert "shut off" == breakable("virsh", "domstate", "new1")


def test_images_are_made_with_the_drop_in(installed: Machine) -> None:
    """Only root with some capabilities can; without the drop-in it is told, and nothing is lost."""
    installed("systemctl", "start", "reconvirtd")
    disk = (
        f"    disks:\n      - {{type: file, driver: {{type: qcow2}}, "
        f"source: {{file: {IMAGES}/d.qcow2}}, "
        "target: {dev: vda}, create: {size: 8 MiB}}\n"
    )
    text = MANIFEST.format(name="disk1", vcpus=1, images=IMAGES)
    installed.write("/etc/reconvirt/desired/disk1.yaml", text + disk)
    wait_until(lambda: "1 has failed" in show(installed, "StatusText"), SOON, "the failure")

    place = "/etc/systemd/system/reconvirtd.service.d"
    example = "/usr/share/doc/reconvirt/examples/systemd/images.conf"
    installed.shell(f"mkdir -p {place}; cp {example} {place}; systemctl daemon-reload")
    installed("systemctl", "restart", "reconvirtd")

    assert "2 virtual servers, revision" in wait_until(
        lambda: show(installed, "StatusText") if running(installed, "disk1") else "", SOON, "disk1"
    )
    assert "libvirt-qemu" == installed("stat", "--format=%U", f"{IMAGES}/d.qcow2")
    told = installed("systemd-analyze", "security", "--no-pager", "reconvirtd").splitlines()[-1]
    assert 4.0 > float(told.partition(": ")[2].split()[0]), told
    installed.shell(f"rm -r {place} /etc/reconvirt/desired/disk1.yaml; systemctl daemon-reload")
    installed.shell("systemctl stop reconvirtd; virsh destroy disk1")


def test_kvm_exits_are_recorded_with_the_drop_in(installed: Machine) -> None:
    """By the user reconvirt; without it not even QEMU's processes are seen, which is told."""
    if not TRACEPOINTS.exists():
        skip(Lack.KVM_TRACES)
    settings = "[metrics.perf]\nenabled = true\nevery_seconds = 10\nmost_cost = 1.0\n"
    installed.write("/etc/reconvirt/conf.d/perf.toml", settings)
    place = "/etc/systemd/system/reconvirtd.service.d"
    example = "/usr/share/doc/reconvirt/examples/systemd/kvm-exits.conf"
    address = "http://127.0.0.1:9751/metrics"
    read = f"import urllib.request as r; print(r.urlopen('{address}').read().decode())"

    def shown(line: str) -> bool:
        return re.search(line, installed("python3", "-c", read), re.MULTILINE) is not None

    manifest(installed)
    installed("systemctl", "restart", "reconvirtd")
    refused = r'^reconvirt_perf_trouble{trouble="not permitted"} 1.0$'
    wait_until(lambda: shown(refused), SOON, "what perf may not do")
    assert "kvm-exits.conf" in installed("journalctl", "--no-pager", "-u", "reconvirtd")

    # A container has not what systemd mounts on a host.
    installed("mount", "-t", "tracefs", "none", "/sys/kernel/tracing")
    installed.shell(f"mkdir -p {place}; cp {example} {place}; systemctl daemon-reload")
    installed("systemctl", "restart", "reconvirtd")

    recorded = r'^reconvirt_perf_windows_total{result="success"} [1-9]'
    wait_until(lambda: shown(recorded), SOON, "a recording")
    assert "reconvirt" == installed("ps", "-o", "user=", "-p", show(installed, "MainPID"))
    installed("systemctl", "stop", "reconvirtd")
    assert "" == installed.shell("ls -d /run/reconvirt/reconvirt-perf-* 2> /dev/null || true")
    installed.shell(f"rm -r {place} /etc/reconvirt/conf.d/perf.toml; systemctl daemon-reload")
    installed("umount", "/sys/kernel/tracing")


def test_git_fetched_by_the_timer(installed: Machine) -> None:
    """Commit, fetch, converge; the network unit and the daemon have each their own sandbox."""
    git = "git -c user.name=Ann -c user.email=ann@example.com -C /srv/upstream"
    installed.shell(
        "git init --quiet --initial-branch=main /srv/upstream; mkdir /srv/upstream/desired; "
        f"cp /etc/reconvirt/desired/web1.yaml /srv/upstream/desired; {git} add -A; "
        f"{git} commit --quiet -m one; chmod -R a+rX /srv/upstream"
    )
    installed.write(
        "/etc/reconvirt/conf.d/git.toml",
        '[source]\nshared = false\n[source.git]\npath = "desired"\n'
        'repository = "/var/lib/reconvirt/manifests.git"\n'
        'remote = "file:///srv/upstream"\nbranch = "main"\n',
    )
    # Whose upstream it is matters to git where it is read as a local one.
    installed("chown", "-R", "reconvirt:", "/srv/upstream")
    installed("systemctl", "start", "reconvirt-sync.service")
    installed("systemctl", "start", "reconvirtd")
    head = installed.shell("git -c safe.directory=* -C /srv/upstream rev-parse HEAD")
    assert f"revision {head[:7]}" in show(installed, "StatusText")

    text = MANIFEST.format(name="web1", vcpus=3, images=IMAGES)
    installed.write("/srv/upstream/desired/web1.yaml", text)
    safe = git.replace("git ", "git -c safe.directory=* ", 1)
    installed.shell(f"{safe} commit --quiet -am two; chown -R reconvirt: /srv/upstream")
    installed("systemctl", "start", "reconvirt-sync.timer")

    wait_until(lambda: vcpus(installed, "web1") == "3", SOON, "the third vCPU")
    installed("systemctl", "stop", "reconvirt-sync.timer", "reconvirtd")
    installed("rm", "/etc/reconvirt/conf.d/git.toml")


def test_git_fetched_by_ssh_within_the_sandbox(installed: Machine) -> None:
    """As the unit's user, with nothing but what the configuration names; no stranger is asked."""
    git = "git -c user.name=Ann -c user.email=ann@example.com -C /home/git/manifests"
    installed.shell(
        "useradd --create-home git; install -d -m 0700 -o git -g git /home/git/.ssh; "
        "git init --quiet --initial-branch=main /home/git/manifests; "
        "mkdir /home/git/manifests/desired; "
        "cp /etc/reconvirt/desired/web1.yaml /home/git/manifests/desired; "
        f"{git} add -A; {git} commit --quiet -m one; chown -R git: /home/git; "
        "ssh-keygen -q -t ed25519 -N '' -f /etc/reconvirt/id; chown reconvirt: /etc/reconvirt/id; "
        "install -m 0600 -o git -g git /etc/reconvirt/id.pub /home/git/.ssh/authorized_keys; "
        "touch /etc/reconvirt/known_hosts"
    )
    installed.write(
        "/etc/reconvirt/conf.d/git.toml",
        '[source]\nshared = false\n[source.git]\npath = "desired"\n'
        'repository = "/var/lib/reconvirt/by-ssh.git"\n'
        'remote = "ssh://git@127.0.0.1/home/git/manifests"\nbranch = "main"\n'
        'ssh_key = "/etc/reconvirt/id"\nknown_hosts = "/etc/reconvirt/known_hosts"\n',
    )
    installed("systemctl", "start", "reconvirt-sync.service", status=1)
    told = installed("journalctl", "--unit=reconvirt-sync", "--output=cat", "--no-pager")
    assert "the server's host key is not in /etc/reconvirt/known_hosts" in told

    installed.shell(
        "read -r kind key rest < /etc/ssh/ssh_host_ed25519_key.pub; "
        'echo "127.0.0.1 $kind $key" > /etc/reconvirt/known_hosts'
    )
    installed("systemctl", "start", "reconvirt-sync.service")

    head = installed(
        "git", "-c", "safe.directory=*", "-C", "/home/git/manifests", "rev-parse", "HEAD"
    )
    assert head in installed("journalctl", "--unit=reconvirt-sync", "--output=cat", "--no-pager")
    installed("rm", "/etc/reconvirt/conf.d/git.toml")


def test_the_package_goes_and_leaves_the_guests(installed: Machine) -> None:
    """Also when it is purged."""
    installed("dpkg", "--purge", "reconvirt")

    assert "running" == installed("virsh", "domstate", "web1")
    with pytest.raises(CommandFailed):
        installed("test", "-e", "/var/lib/reconvirt")
    assert "web1.yaml" in installed("ls", "/etc/reconvirt/desired")
