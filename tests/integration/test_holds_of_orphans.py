"""A hold counts also when the manifest of its virtual server is gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from testbed import Daemon, Desired, LibvirtHost, Reconvirt, wait_until

Name = Callable[..., str]
GONE = {"on_removal": "undefine"}
HOLD = {"annotations": {"reconvirt/hold": "being moved"}}


def status(reconvirt: Reconvirt, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = reconvirt.json("get", name)["virtualServers"]
    return found[0]


def wait_until_orphaned(daemon: Daemon, name: str) -> None:
    """Until what is to be done about it was decided."""
    wait_until(
        lambda: [
            line
            for line in daemon.lines
            if line.get("virtual_server") == name and "its manifest is gone" in str(line)
        ],
        90,
        f"the manifest of {name} to be missed",
    )


@pytest.mark.parametrize("how", ["by hand", "by annotation", "unreadable"])
def test_it_is_not_pruned(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name, how: str
) -> None:
    """Until it is released; get, why and describe show who holds it."""
    name = unique_name()
    metadata = HOLD if how == "by annotation" else {}
    reconvirt.configure(resync_seconds=1, prune_grace_seconds=1)
    desired.manifest(unique_name("stays"), state="shutoff")  # else nothing is pruned at all
    file = desired.manifest(name, state="shutoff", policy=GONE)
    reconvirt.apply()
    desired.manifest(name, state="shutoff", policy=GONE, metadata=metadata)
    holds = reconvirt.state / "holds.json"
    with reconvirt.run() as daemon:
        daemon.wait_for("held" if metadata else "converged", 60, virtual_server=name)
        if how == "by hand":
            reconvirt("hold", name, "--reason", "being repaired")
        elif how == "unreadable":
            holds.write_text("{", encoding="utf-8")
        file.unlink()
        reconvirt("reconcile", "--source")
        told = {
            "by hand": "being repaired (root)",
            "by annotation": "being moved (manifest)",
            "unreadable": "holds.json cannot be read",
        }[how]

        wait_until_orphaned(daemon, name)
        shown = wait_until(lambda: status(reconvirt, name)["hold"], 60, "the hold to be shown")
        assert told in f"{shown['reason']} ({shown['who']})"
        assert "It is left alone" in reconvirt("why", name)
        assert "Held" in reconvirt("describe", name)
        daemon.reload()
        daemon.wait_for("configuration reloaded")
        assert name in host.names()
        assert [] == daemon.logged("step done", virtual_server=name)

        if how == "unreadable":
            holds.unlink()
        else:
            assert f"{name} is released" in reconvirt("release", name)
        wait_until(lambda: name not in host.names(), 120, "it to be undefined then")


def test_one_that_is_kept_can_be_held(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Its manifest may be back some time, and must not change it then."""
    name = unique_name()
    text = desired.manifest(name, state="shutoff").read_text(encoding="utf-8")
    with reconvirt.run() as daemon:
        daemon.wait_for("converged", 60, virtual_server=name)
        (desired.path / f"{name}.yaml").unlink()
        reconvirt("reconcile", "--source")
        wait_until(
            lambda: status(reconvirt, name)["phase"] == "not managed", 60, "it to be an orphan"
        )

        assert f"{name} is held by root: mine" in reconvirt("hold", name, "--reason", "mine")
        found = status(reconvirt, name)
        assert ("not managed", "mine") == (found["phase"], found["hold"]["reason"])
        assert {"Held", "Orphaned"} <= {each["type"] for each in found["conditions"]}
        daemon.stop()
        assert "mine" == status(reconvirt, name)["hold"]["reason"]

        daemon.start()
        changed = text.replace("maximum: 2", "maximum: 4")
        assert changed != text
        (desired.path / f"{name}.yaml").write_text(changed, encoding="utf-8")
        daemon.wait_for("held", 60, virtual_server=name)
        assert "2" == host.virsh("vcpucount", "--config", "--maximum", name).strip()
        assert f"{name} is released" in reconvirt("release", name)
        daemon.wait_for("converged", 60, virtual_server=name)


def test_a_hold_of_an_earlier_version_follows_a_rename(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Its file has names alone."""
    name, renamed = unique_name(), unique_name("renamed")
    desired.manifest(name, state="shutoff")
    reconvirt.apply()
    uuid = host.virsh("domuuid", name).strip()
    old = {name: {"reason": "new disk", "who": "erika", "since": 1.0}}
    reconvirt.state.mkdir(exist_ok=True)
    (reconvirt.state / "holds.json").write_text(json.dumps(old), encoding="utf-8")
    with reconvirt.run() as daemon:
        daemon.wait_for("held", 60, virtual_server=name)
        stored = json.loads((reconvirt.state / "holds.json").read_text(encoding="utf-8"))
        assert [uuid] == list(stored["entries"])

        host.virsh("domrename", name, renamed)
        (desired.path / f"{name}.yaml").unlink()
        desired.manifest(renamed, state="shutoff", metadata={"uuid": uuid}, vcpu={"maximum": 4})

        told = daemon.wait_for("held", 60, virtual_server=renamed)
        assert "left alone: new disk (erika)" == told["message"]
        assert "2" == host.virsh("vcpucount", "--config", "--maximum", renamed).strip()
