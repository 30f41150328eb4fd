"""Which domains are ours, what becomes of those without a manifest, and what is shown of them."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed import Desired, LibvirtHost, Reconvirt, Two, VirshError, wait_until

Name = Callable[..., str]
SHUTDOWN, UNDEFINE = {"on_removal": "shutdown"}, {"on_removal": "undefine"}


def state(host: LibvirtHost, name: str) -> str:
    """What virsh says of the state of a domain; "" where there is none."""
    try:
        return host.virsh("domstate", name).strip()
    except VirshError:
        return ""


def row(reconvirt: Reconvirt, name: str, *options: str) -> dict[str, Any]:
    """The status of one virtual server as `get` shows it; empty if it shows none."""
    found = reconvirt.json("get", *options)["virtualServers"]
    return next((each for each in found if each["name"] == name), {})


def persistent(host: LibvirtHost, name: str) -> bool:
    """Whether libvirt keeps the definition of a domain."""
    return re.search(r"Persistent:\s*yes", host.virsh("dominfo", name)) is not None


def fill(desired: Desired, unique_name: Name, count: int = 8) -> None:
    """Have so many others that one is less than a fifth of all."""
    for _ in range(count):
        desired.manifest(unique_name("fill"), state="shutoff")


def test_a_clone_and_a_renamed_domain_are_nobody_s_orphans(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Both carry copied metadata; one that really is without manifest is shut down meanwhile."""
    original, clone, goes = unique_name("app"), unique_name("clone"), unique_name("goes")
    renamed, after = unique_name("before"), unique_name("after")
    fill(desired, unique_name)
    desired.manifest(original, policy=SHUTDOWN)
    desired.manifest(goes, policy=SHUTDOWN)
    desired.manifest(renamed, state="shutoff", policy=UNDEFINE)
    with reconvirt.run() as daemon:
        for name in (original, goes):
            host.console(name).wait_for("GUEST-UP", 120)
        daemon.wait_for("converged", 60, virtual_server=renamed)
        xml = host.virsh("dumpxml", "--inactive", original)
        xml = re.sub(r"<name>.*?</name>", f"<name>{clone}</name>", xml)
        xml = re.sub(r"\s*<uuid>.*?</uuid>", "", xml)
        host.define(xml.replace(str(host.console_log(original)), str(host.console_log(clone))))
        host.virsh("start", clone)
        host.console(clone).wait_for("GUEST-UP", 120)
        host.virsh("domrename", renamed, after)

        refused = daemon.wait_for("refused", 60, virtual_server=renamed)
        desired.remove(goes)

        daemon.wait_for("prune pending", 60, virtual_server=goes)
        wait_until(lambda: state(host, goes) == "shut off", 120, "the orphan to be shut down")
        assert f"virsh domrename {after} {renamed}" in refused["message"]
        assert ("running", "running") == (state(host, original), state(host, clone))
        assert "shut off" == state(host, after)
        assert [] == daemon.logged("prune held")
        told = {each["name"] for each in reconvirt.json("get")["virtualServers"]}
        assert {original, goes, renamed} <= told
        assert not {clone, after} & told
        host.virsh("domrename", after, renamed)
        daemon.wait_for("converged", 60, virtual_server=renamed)
    offline = row(reconvirt, renamed, "--connect", host.uri, "--desired", str(desired.path))
    assert "converged" == offline["phase"]


def test_a_copied_definition_under_the_name_of_a_manifest_is_refused(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """`plan` and `get` say what it is; the uuid in the manifest takes it over, once."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    reconvirt.apply()
    xml = re.sub(r"\s*<uuid>.*?</uuid>", "", host.virsh("dumpxml", name))
    host.virsh("undefine", name)
    host.define(xml)
    uuid = host.virsh("domuuid", name).strip()

    plan = reconvirt.plan(status=1)
    shown = row(reconvirt, name)

    [refused] = plan["virtualServers"][0]["refused"]
    assert "is a copy of" in refused["reason"]
    assert f"state metadata.uuid: {uuid}" in refused["reason"]
    assert "refused" == shown["phase"] == plan["virtualServers"][0]["phase"]
    assert refused["reason"] in shown["message"]

    desired.manifest(name, state="shutoff", metadata={"uuid": uuid})
    reconvirt.apply()
    assert 0 == reconvirt.apply()["calls"]["writing"]


def test_what_another_source_has_applied_is_taken_over_once(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """By a manifest that states its uuid; the first source then leaves it alone."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    reconvirt.apply()
    uuid = host.virsh("domuuid", name).strip()
    reconvirt.configure(source_name="other")
    refused = reconvirt.plan(status=1)["virtualServers"][0]["refused"][0]
    assert "the source 'desired' manages it" in refused["reason"]

    reconvirt.configure(source_name="other", former_source_names=["desired"])
    assert ["record"] == [
        each["action"] for each in reconvirt.plan(status=2)["virtualServers"][0]["steps"]
    ]

    reconvirt.configure(source_name="other")
    desired.manifest(name, state="shutoff", metadata={"uuid": uuid})
    reconvirt.apply()
    assert 0 == reconvirt.apply()["calls"]["writing"]

    reconvirt.configure()
    refused = reconvirt.plan(status=1)["virtualServers"][0]["refused"][0]
    assert "the source 'other' has taken it over" in refused["reason"]
    assert 0 == reconvirt.apply(status=1)["calls"]["writing"]


def test_a_file_that_was_emptied_removes_nothing(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """It is a problem, and its last good version stays in force."""
    name = unique_name()
    fill(desired, unique_name)
    desired.manifest(name, state="paused", policy=UNDEFINE)
    file = desired.path / f"{name}.yaml"
    with reconvirt.run() as daemon:
        daemon.wait_for("converged", 60, virtual_server=name)
        for text in ("", "# nothing\n", "---\n"):
            file.write_text(text)
            wait_until(
                lambda: daemon.logged("manifests read")[-1]["problems"] == 1, 30, "the problem"
            )
            fleet = reconvirt.json("get")
            assert f"{file}" == fleet["problems"][0]["file"]
            assert "has no document" in fleet["problems"][0]["message"]
        time.sleep(3)  # longer than the grace period
        assert "paused" == state(host, name)
        assert "converged" == row(reconvirt, name)["phase"]
        assert [] == daemon.logged("prune pending")
    assert "paused" == state(host, name)


def test_a_manifest_that_returns_within_the_grace_period_cancels(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """Until then the status says what will be done, and when."""
    reconvirt.configure(prune_grace_seconds=8)
    name, aside = unique_name(), tmp_path / "aside.yaml"
    fill(desired, unique_name)
    file = desired.manifest(name, state="paused", policy=UNDEFINE)
    with reconvirt.run() as daemon:
        daemon.wait_for("converged", 60, virtual_server=name)
        shutil.move(file, aside)
        pending = daemon.wait_for("prune pending", 60, virtual_server=name)
        assert re.search(r"will be undefined in \d s unless its manifest", pending["message"])
        shown = wait_until(
            lambda: (found := row(reconvirt, name))["phase"] == "not managed" and found, 5, "it"
        )
        assert "unless its manifest returns" in shown["message"]
        assert "paused" == shown["state"]
        shutil.move(aside, file)
        daemon.wait_for("prune cancelled", 60, virtual_server=name)
        time.sleep(9)
        assert "paused" == state(host, name)

        file.unlink()
        began = time.monotonic()
        wait_until(lambda: state(host, name) == "", 120, "it to be undefined")
        assert time.monotonic() - began >= 8
        wait_until(lambda: row(reconvirt, name) == {}, 10, "it to leave the status")


def test_what_has_no_manifest_is_shown_as_libvirt_has_it(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Its state follows what happens to it, until it is undefined; also without a daemon."""
    name, other = unique_name(), unique_name()
    offline = ("--connect", host.uri, "--desired", str(desired.path))
    desired.manifest(name, state="paused")
    desired.manifest(other, state="shutoff")
    with reconvirt.run() as daemon:
        daemon.wait_for("converged", 60, virtual_server=name)
        desired.remove(name)
        daemon.wait_for("manifest gone", 60, virtual_server=name)

        def shown() -> tuple[object, ...]:
            return tuple(row(reconvirt, name).get(key) for key in ("phase", "state"))

        wait_until(lambda: shown() == ("not managed", "paused"), 10, "it to be shown")
        assert "is paused" in reconvirt("why", name)
        assert "is not defined" not in reconvirt("why", name)
        assert row(reconvirt, name)["message"] == row(reconvirt, name, *offline)["message"]
        host.virsh("destroy", name)
        wait_until(lambda: shown() == ("not managed", "shut off"), 10, "its end to be shown")
        host.virsh("undefine", name)
        wait_until(lambda: shown() == (None, None), 10, "it to leave the status")


def test_nothing_is_called_gone_while_the_manifests_cannot_be_read(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """A daemon that starts before its directory is there says just that."""
    name, aside = unique_name(), tmp_path / "aside"
    desired.manifest(name, state="paused", policy=UNDEFINE)
    reconvirt.apply()
    shutil.move(desired.path, aside)
    with reconvirt.run() as daemon:
        shown = wait_until(lambda: row(reconvirt, name), 30, "it to be shown")
        assert ("manifest not readable", "paused") == (shown["phase"], shown["state"])
        assert "not all can be read" in shown["message"]
        assert "Orphaned" not in {each["type"] for each in shown["conditions"]}
        time.sleep(3)  # longer than the grace period
        assert "paused" == state(host, name)
        shutil.move(aside, desired.path)
        daemon.wait_for("converged", 60, virtual_server=name)
        assert "converged" == row(reconvirt, name)["phase"]


def test_a_directory_that_becomes_a_link_is_not_gone(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, tmp_path: Path
) -> None:
    """It is not followed, and the manifests that were in it stay in force."""
    name, aside, place = unique_name(), tmp_path / "aside", desired.path / "site"
    fill(desired, unique_name)
    file = desired.manifest(name, state="paused", policy=UNDEFINE)
    place.mkdir()
    shutil.move(file, place / file.name)
    with reconvirt.run() as daemon:
        daemon.wait_for("converged", 60, virtual_server=name)
        shutil.move(place, aside)
        place.symlink_to(aside)
        refused = daemon.wait_for("manifest refused", 30)
        assert "it is a link to a directory" in refused["message"]
        time.sleep(3)  # longer than the grace period
        assert "converged" == row(reconvirt, name)["phase"]
    with reconvirt.run() as daemon:
        # Nothing is known of the time before: what is behind the link may be its manifest.
        held = daemon.wait_for("prune held", 30)
        assert "manifests may be where none is read" in held["message"]
    assert "paused" == state(host, name)


def test_the_part_that_may_go_is_counted_over_restarts(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Of six, one may go within an hour: the second is held, whoever is asked."""
    names = [unique_name() for _ in range(6)]
    for name in names:
        desired.manifest(name, state="shutoff", policy=UNDEFINE)
    reconvirt.apply()
    desired.remove(names[0])
    with reconvirt.run():
        wait_until(lambda: state(host, names[0]) == "", 60, "the first to be undefined")
    desired.remove(names[1])
    with reconvirt.run() as daemon:
        held = daemon.wait_for("prune held", 60)
        assert "1 manifests are gone after 1 within the last hour" in held["message"]
        assert "shut off" == state(host, names[1])
        reconvirt("approve", "prune")
        wait_until(lambda: state(host, names[1]) == "", 60, "the approved one to be undefined")


def test_a_source_that_is_older_prunes_nothing(two: Two, unique_name: Name) -> None:
    """One that has moved to a host whose manifests are not up to date stays there."""
    name, older = unique_name("new"), two.desired.path.parent / "older"
    shutil.copytree(two.desired.path, older)
    for number in range(6):
        text = two.desired.manifest(f"{name}-{number}", state="shutoff", host="zhost2").read_text()
        (older / f"{name}-{number}.yaml").write_text(text)
    two.programs[1].read_from(older)
    time.sleep(1.1)
    two.desired.manifest(name, host="zhost1", policy=SHUTDOWN)
    two.start()
    two.hosts[0].console(name).wait_for("GUEST-UP", 120)

    two.desired.manifest(name, host="zhost2", policy=SHUTDOWN)
    two.wait_for_move(name, 1)

    held = two.daemons[1].wait_for("prune held", 120)
    assert "it was last applied from revision" in held["message"]
    time.sleep(5)
    assert "running" == two.state(1, name)
    shown = row(two.programs[1], name)
    assert ("not managed", "running") == (shown["phase"], shown["state"])

    two.programs[1]("approve", "prune")
    wait_until(lambda: two.state(1, name) == "shut off", 120, "the approved one to be shut down")


def test_one_that_is_undefined_while_it_runs_is_defined_again(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Or reported, if that is the policy; then `plan`, `get` and the exit code agree."""
    correct, report = unique_name("correct"), unique_name("report")
    desired.manifest(correct, state="paused")
    desired.manifest(report, state="paused", policy={"drift": "report"})
    with reconvirt.run() as daemon:
        for name in (correct, report):
            daemon.wait_for("converged", 60, virtual_server=name)
        before = host.virsh("dumpxml", "--inactive", correct)
        for name in (correct, report):
            host.virsh("undefine", name)
        wait_until(lambda: persistent(host, correct), 60, "it to be defined again")
        assert before == host.virsh("dumpxml", "--inactive", correct)
        wait_until(lambda: row(reconvirt, report)["phase"] == "drifted", 30, "it to be reported")
        assert "definition" in row(reconvirt, report)["message"]
        assert not persistent(host, report)
        assert "paused" == state(host, report)

        plan = reconvirt.plan(report, status=2)["virtualServers"][0]
        table = reconvirt("plan", report, status=2)

        assert ([], "drifted") == (plan["steps"], plan["phase"])
        assert ["definition"] == [each["field"] for each in plan["drifted"]]
        assert "reported only" in table
        assert "1 with changes, 0 as wanted" in table
        assert plan["message"] == row(reconvirt, report)["message"]
