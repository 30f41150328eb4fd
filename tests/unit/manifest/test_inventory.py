"""Manifests of hosts, and the virtual servers that mean them."""

from __future__ import annotations

from reconvirt.manifest.load import assemble, load_file
from reconvirt.manifest.model import Snapshot, SourceFile

HOST = """
apiVersion: reconvirt/v1
kind: Host
metadata: {name: %s, labels: {room: "1"}}
spec:
  uri: qemu+ssh://%s/system
  migration: {uri: "tcp://10.0.0.2", slots: {in: 2}}
  storage: {shared: [/srv/images]}
"""
SERVER = """
apiVersion: reconvirt/v1
kind: VirtualServer
metadata: {name: web1}
spec:
  memory: 1 GiB
  vcpu: 1
  os: {arch: s390x, machine: s390-ccw-virtio}
  host: %s
"""


def snapshot(*texts: str, previous: Snapshot | None = None) -> Snapshot:
    """The snapshot of these files."""
    files = [SourceFile(f"{number}.yaml", text.encode()) for number, text in enumerate(texts)]
    return assemble(map(load_file, files), "r", previous)


def test_a_host_is_read() -> None:
    """Everything it states, and the defaults."""
    found = snapshot(HOST % ("zhost1", "zhost1")).hosts["zhost1"]

    assert ("qemu+ssh://zhost1/system", "tcp://10.0.0.2") == (found.uri, found.migrate_uri)
    assert (2, 1, True, False) == (
        found.slots_in,
        found.slots_out,
        found.schedulable,
        found.evacuate,
    )
    assert ("/srv/images",) == found.shared


def test_a_virtual_server_must_mean_a_host_that_is_there() -> None:
    """It is refused, and what is known is told."""
    found = snapshot(HOST % ("zhost1", "zhost1"), SERVER % "zhost2")

    assert {} == found.manifests
    (problem,) = found.problems
    assert ("spec.host", "there is no host 'zhost2'", "zhost1") == (
        problem.field,
        problem.message,
        problem.allowed,
    )


def test_two_hosts_of_one_uri_hold_each_other_up() -> None:
    """One libvirt under two names would be asked whether it has what it has itself."""
    before = snapshot(HOST % ("zhost1", "zhost1"), SERVER % "zhost1")

    found = snapshot(
        HOST % ("zhost1", "zhost1"), SERVER % "zhost1", HOST % ("zhost2", "zhost1"), previous=before
    )

    assert {"zhost1"} == set(found.hosts)
    assert {"web1"} == set(found.manifests)
    assert ["spec.uri"] * 2 == [each.field for each in found.problems]


def test_a_broken_host_stays_as_it_was() -> None:
    """Law 4: the last good version stays in force."""
    before = snapshot(HOST % ("zhost1", "zhost1"), SERVER % "zhost1")

    found = snapshot("apiVersion: reconvirt/v1\nkind: Host\n", SERVER % "zhost1", previous=before)

    assert before.hosts == found.hosts
    assert {"web1"} == set(found.manifests)
    assert found.problems


def test_a_host_that_is_gone_stays_as_long_as_a_manifest_in_force_means_it() -> None:
    """The manifest stays as it was, and would be this host's if there were no other."""
    hosts = HOST % ("zhost1", "zhost1"), HOST % ("zhost2", "zhost2")
    before = snapshot(SERVER % "zhost2", *hosts)

    found = snapshot(SERVER % "zhost2", hosts[0], previous=before)
    again = snapshot(SERVER % "zhost2", previous=found)
    moved = snapshot(SERVER % "zhost1", hosts[0], previous=found)

    assert {"web1"} == found.manifests.keys() == again.manifests.keys() == again.retained
    assert {"zhost1", "zhost2"} == found.hosts.keys()
    assert {"zhost2"} == again.hosts.keys()
    assert {"zhost1"} == moved.hosts.keys()


def test_a_host_that_is_gone_is_not_asked_under_two_names() -> None:
    """It was renamed, and a manifest means the old name."""
    before = snapshot(SERVER % "zhost1", HOST % ("zhost1", "zhost"))

    found = snapshot(SERVER % "zhost1", HOST % ("zhost2", "zhost"), previous=before)

    assert {"zhost2"} == found.hosts.keys()
