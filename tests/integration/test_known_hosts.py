"""Manifests of hosts that go or change never let a second copy start."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import Two, wait_until
from testbed.manifests import disk
from testbed.program import Daemon
from testbed.servers import silent_server

Name = Callable[..., str]
UNSAFE = {"migration": {"unsafe": True}}


def copies(two: Two, name: str) -> list[int]:
    """On which hosts there is a process of it."""
    return [number for number in (0, 1) if two.state(number, name) in ("running", "paused")]


def last_message(daemon: Daemon, name: str) -> str:
    """The last thing that was said of a virtual server."""
    lines = [each for each in daemon.lines if each.get("virtual_server") == name]
    messages = [str(each["message"]) for each in lines if each.get("message")]
    return messages[-1] if messages else ""


def wait_for_words(daemon: Daemon, name: str, words: str) -> str:
    """Until the last thing that was said of a virtual server has these words."""

    def said() -> str:
        message = last_message(daemon, name)
        return message if words in message else ""

    return wait_until(said, 120, f"{words!r} to be said of {name}")


def known(two: Two, number: int = 0) -> dict[str, dict[str, Any]]:
    """The other hosts that one host knows, by name."""
    listed = json.loads(two.programs[number]("host", "list", "-o", "json"))
    return {each["name"]: each for each in listed}


def title(two: Two, number: int, name: str) -> str:
    """The title of a definition on one host."""
    return two.hosts[number].virsh("desc", name, "--title").strip()


def test_one_commit_moves_it_and_removes_the_manifest_of_its_host(
    two: Two, unique_name: Name
) -> None:
    """It arrives by migration; the old host is asked until it has none of ours."""
    name = unique_name()
    two.desired.manifest(name, host="zhost2", policy=UNSAFE)
    two.start()
    wait_until(lambda: copies(two, name) == [1], 90, "it on zhost2")
    two.daemons[1].stop()

    two.desired.remove("zhost2")
    two.desired.manifest(name, host="zhost1", policy=UNSAFE)
    wait_for_words(two.daemons[0], name, "zhost2 has it")
    assert copies(two, name) == [1]
    assert known(two)["zhost2"]["described"] is False

    two.daemons[1].start()
    two.wait_for_move(name, 0)
    two.daemons[0].wait_for("host forgotten", 120)
    assert known(two) == {}


def test_a_host_without_manifest_that_cannot_be_asked_may_have_it(
    two: Two, unique_name: Name
) -> None:
    """Until it is fenced and removed by a person."""
    name = unique_name()
    two.desired.manifest(name, state="paused", host="zhost2")
    two.start()
    wait_until(lambda: copies(two, name) == [1], 90, "it on zhost2")
    two.hosts[1].cut()
    two.desired.manifest(name, state="paused", host="zhost1")
    wait_for_words(two.daemons[0], name, "zhost2 may have it")

    two.desired.remove("zhost2")
    wait_for_words(two.daemons[0], name, "which no manifest describes any more")
    assert copies(two, name) == [1]
    program = two.programs[0]
    assert "cannot be asked" in program("host", "remove", "zhost2", "--yes", status=1)

    two.daemons[1].stop()
    two.hosts[1].virsh("destroy", name)
    program("host", "fenced", "zhost2", "--yes")
    assert known(two)["zhost2"]["fenced"] is True
    program("host", "remove", "zhost2", "--yes")
    two.daemons[0].reload()

    wait_until(lambda: copies(two, name) == [0], 90, "its start here")
    assert known(two) == {}


def test_a_typo_in_the_manifest_of_a_host_and_a_restart(two: Two, unique_name: Name) -> None:
    """The daemon still knows the host whose manifest it cannot read."""
    name = unique_name()
    two.desired.manifest(name, state="paused", host="zhost2")
    two.start()
    wait_until(lambda: copies(two, name) == [1], 90, "it on zhost2")
    two.hosts[1].cut()
    two.desired.manifest(name, state="paused", host="zhost1")
    wait_for_words(two.daemons[0], name, "zhost2 may have it")

    path = two.desired.path / "zhost2.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("migration:", "migratoin:"))
    two.daemons[0].stop()
    two.daemons[0].start()

    wait_for_words(two.daemons[0], name, "zhost2, which no manifest describes any more, may")
    assert copies(two, name) == [1]


def test_one_file_is_applied_on_a_host_that_knows_the_other(
    two: Two, unique_name: Name, tmp_path: Path
) -> None:
    """It says no host, and its virtual server runs on the other one."""
    name = unique_name()
    two.desired.manifest(name, state="paused", host="zhost1")
    two.start()
    wait_until(lambda: copies(two, name) == [0], 90, "it on zhost1")
    wait_until(lambda: "zhost1" in known(two, 1), 60, "zhost2 to know zhost1")
    two.daemons[1].stop()
    document = yaml.safe_load((two.desired.path / f"{name}.yaml").read_text(encoding="utf-8"))
    del document["spec"]["host"]
    single = tmp_path / "single.yaml"
    single.write_text(yaml.safe_dump(document), encoding="utf-8")
    one_file = ("apply", "--timeout", "20", "-o", "json", "--desired", str(single))

    (outcome,) = json.loads(two.programs[1](*one_file, status=1))["virtualServers"]
    assert "spec.host must say" in outcome["message"]

    two.programs[1].configure(host_name="zhost2", source__shared=False)
    (outcome,) = json.loads(two.programs[1](*one_file, status=1))["virtualServers"]
    assert "zhost1" in outcome["message"]
    assert copies(two, name) == [0]
    assert two.state(1, name) == ""


def test_one_file_is_applied_on_a_host_that_has_never_run_the_daemon(
    two: Two, unique_name: Name, tmp_path: Path
) -> None:
    """It knows of no other host; but it has a name, so there are some."""
    name = unique_name()
    two.desired.manifest(name, state="paused", host="zhost1")
    two.daemons[0].start()
    wait_until(lambda: copies(two, name) == [0], 90, "it on zhost1")
    document = yaml.safe_load((two.desired.path / f"{name}.yaml").read_text(encoding="utf-8"))
    del document["spec"]["host"]
    single = tmp_path / "single.yaml"
    single.write_text(yaml.safe_dump(document), encoding="utf-8")
    environment = two.programs[1].environment
    del environment["RECONVIRT_DESIRED"]
    command = two.programs[1].command("apply", "-o", "json", "--desired", str(single))

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "spec.host must say" in json.loads(done.stdout)["virtualServers"][0]["message"]
    assert (copies(two, name), two.state(1, name)) == ([0], "")


def test_a_fence_ends_when_its_host_is_back(two: Two, unique_name: Name) -> None:
    """Nothing is started meanwhile; the next failure of the network starts no second copy."""
    name = unique_name()
    two.desired.manifest(name, state="paused", host="zhost2")
    two.start()
    wait_until(lambda: copies(two, name) == [1], 90, "it on zhost2")
    two.hosts[1].cut()
    two.programs[0]("host", "fenced", "zhost2", "--yes")

    two.hosts[1].mend()
    two.daemons[0].wait_for("fence ended", 120)
    assert known(two)["zhost2"]["fenced"] is False
    two.hosts[1].cut()
    two.daemons[1].stop()
    two.desired.manifest(name, state="paused", host="zhost1")

    wait_for_words(two.daemons[0], name, "zhost2 may have it")
    assert copies(two, name) == [1]


def make_standby(two: Two, name: str) -> None:
    """Define the same virtual server at the destination, by hand."""
    xml = two.hosts[0].virsh("dumpxml", "--inactive", name)
    standby = xml.replace("</name>", "</name><title>standby, made by hand</title>", 1)
    two.hosts[1].define(standby)


@pytest.mark.parametrize("state", ["running", "shutoff"])
def test_a_definition_at_the_destination_stops_the_migration(
    two: Two, unique_name: Name, state: str
) -> None:
    """None of the two definitions is undefined; without that one it moves."""
    name = unique_name()
    two.desired.manifest(name, state=state, host="zhost1", policy=UNSAFE)
    two.daemons[0].start()
    shown = "running" if state == "running" else "shut off"
    wait_until(lambda: two.state(0, name) == shown, 90, "it on zhost1")
    make_standby(two, name)

    two.desired.manifest(name, state=state, host="zhost2", policy=UNSAFE)
    wait_for_words(two.daemons[0], name, "zhost2 has it already")
    two.daemons[0].stop()
    two.daemons[0].start()
    wait_for_words(two.daemons[0], name, "zhost2 has it already")

    assert (shown, "shut off") == (two.state(0, name), two.state(1, name))
    assert "standby, made by hand" == title(two, 1, name)
    two.hosts[1].virsh("undefine", name)
    two.programs[0]("reconcile", name)
    two.wait_for_move(name, 1, shown)


def test_a_host_by_another_name_than_its_own(two: Two, unique_name: Name) -> None:
    """Its manifest leads to this very libvirt: nothing moves there, and it is said what to set."""
    name = unique_name()
    two.desired.manifest(name, state="shutoff", host="zhost1")
    two.programs[0].apply(name)
    two.programs[0].configure(host_name="zhost1.example.com", resync_seconds=20)
    daemon = two.daemons[0].start()

    message = wait_for_words(daemon, name, "this very libvirt")

    assert 'host_name = "zhost1"' in message
    assert daemon.logged("host is this one")
    assert "shut off" == two.state(0, name)
    refused = two.programs[0]("migrate", "--check", name, "zhost1", status=1)
    assert "this very libvirt" in refused


def test_a_frozen_destination_delays_only_what_goes_there(two: Two, unique_name: Name) -> None:
    """Its libvirt takes the connection, and never answers."""
    stuck, goes = unique_name(), unique_name()
    for name in (stuck, goes):
        two.desired.manifest(name, host="zhost1", policy=UNSAFE)
    two.daemons[0].start()
    wait_until(lambda: copies(two, stuck) == copies(two, goes) == [0], 90, "both on zhost1")

    with silent_server() as port:
        uri = f"qemu+tcp://127.0.0.1:{port}/system"
        two.desired.host(two.hosts[1], name="zhost3", uri=uri)
        two.desired.manifest(stuck, host="zhost3", policy=UNSAFE)
        wait_for_words(two.daemons[0], stuck, "zhost3")
        two.desired.manifest(goes, host="zhost2", policy=UNSAFE)
        two.wait_for_move(goes, 1)

        two.desired.manifest(stuck, host="zhost1", policy=UNSAFE)
        wait_until(lambda: not _moving(two, stuck), 60, "the stuck one to stay")
    assert copies(two, stuck) == [0]


def _moving(two: Two, name: str) -> bool:
    status = json.loads(two.programs[0]("get", name, "-o", "json"))
    return "moves" in json.dumps(status)


def test_an_orphan_that_may_run_elsewhere_is_not_resumed(two: Two, unique_name: Name) -> None:
    """A paused guest must be resumed to be shut down, which is asked of the others like a start."""
    name = unique_name()
    two.desired.manifest(name, state="paused", host="zhost1", policy={"on_removal": "shutdown"})
    keep = unique_name()
    two.desired.manifest(keep, state="shutoff", host="zhost1")
    two.daemons[0].start()
    wait_until(lambda: copies(two, name) == [0], 90, "it on zhost1")
    two.hosts[1].cut()

    two.desired.remove(name)
    wait_for_words(two.daemons[0], name, "zhost2 may have it")
    assert "paused" == two.state(0, name)

    two.hosts[1].mend()
    wait_until(lambda: two.state(0, name) in ("running", "shut off"), 120, "its resumption")


def test_a_host_whose_configuration_was_copied_starts_nothing_of_the_other(
    two: Two, unique_name: Name
) -> None:
    """Both have one name; the one that the manifest of that name does not mean asks the other."""
    name = unique_name()
    two.desired.manifest(name, host="zhost1")
    two.daemons[0].start()
    wait_until(lambda: copies(two, name) == [0], 90, "it on zhost1")

    two.programs[1].configure(host_name="zhost1", resync_seconds=20)
    two.daemons[1].start()

    two.daemons[1].wait_for("host name taken", 120)
    wait_for_words(two.daemons[1], name, "has it, running")
    assert copies(two, name) == [0]


def test_a_list_of_hosts_that_is_removed_while_the_daemon_runs_is_no_empty_one(
    two: Two, unique_name: Name
) -> None:
    """Nothing that another host may have is started until it is restored."""
    name = unique_name()
    two.desired.manifest(name, host="zhost2", policy=UNSAFE)
    two.start()
    wait_until(lambda: copies(two, name) == [1], 90, "it on zhost2")
    two.hosts[1].cut()
    two.desired.manifest(name, host="zhost1", policy=UNSAFE)
    wait_for_words(two.daemons[0], name, "zhost2 may have it")

    (two.programs[0].state / "hosts.json").unlink()

    two.programs[0]("reconcile", name)
    wait_for_words(two.daemons[0], name, "hosts.json is gone")
    assert copies(two, name) == [1]


def test_hotplug_devices_stay_while_the_destination_is_off(two: Two, unique_name: Name) -> None:
    """They are detached for a migration, which cannot begin."""
    name = unique_name()
    image = two.hosts[0].image(f"{name}.qcow2", "16M")
    devices = {"disks": [{**disk(image, "vdb"), "persistent": False}]}
    two.desired.manifest(name, host="zhost1", devices=devices)
    two.daemons[0].start()
    two.hosts[0].console(name).wait_for("GUEST-UP", 120)
    wait_until(lambda: "vdb" in two.hosts[0].virsh("domblklist", name), 90, "vdb")
    two.hosts[1].cut()

    two.desired.manifest(name, host="zhost2", devices=devices)

    wait_for_words(two.daemons[0], name, "zhost2 may have it")
    assert "vdb" in two.hosts[0].virsh("domblklist", name)
