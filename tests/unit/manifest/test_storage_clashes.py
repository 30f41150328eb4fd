"""No two manifests in force whose virtual servers would write to one disk."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from reconvirt.manifest.load import assemble, load_file
from reconvirt.manifest.model import Snapshot, SourceFile

LUN = {"type": "block", "driver": {"type": "raw"}, "source": {"dev": "/dev/mapper/web"}}
IMAGE = {"type": "file", "driver": {"type": "raw"}, "source": {"file": "/srv/images/a.img"}}


def server(name: str, *disks: dict[str, Any], **spec: Any) -> str:
    listed = [{"target": {"dev": f"vd{'abc'[n]}"}} | each for n, each in enumerate(disks)]
    return yaml.safe_dump(
        {
            "apiVersion": "reconvirt/v1",
            "kind": "VirtualServer",
            "metadata": {"name": name},
            "spec": {
                "memory": "1 GiB",
                "vcpu": 1,
                "os": {"arch": "s390x", "machine": "s390-ccw-virtio"},
                "devices": {"disks": listed},
                **spec,
            },
        },
        sort_keys=False,
    )


def host(name: str, *shared: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "reconvirt/v1",
            "kind": "Host",
            "metadata": {"name": name},
            "spec": {"uri": f"qemu+ssh://{name}/system", "storage": {"shared": list(shared)}},
        }
    )


def snapshot(*texts: str, previous: Snapshot | None = None) -> Snapshot:
    files = [
        load_file(SourceFile(f"{number}.yaml", text.encode()))
        for number, text in enumerate(texts, 1)
    ]
    return assemble(files, "r", previous)


def test_a_copied_manifest_is_told_at_both_places() -> None:
    """File, line and field of each, and neither is in force."""
    found = snapshot(server("web1", LUN), server("web2", LUN))

    first, second = map(str, found.problems)
    assert {} == found.manifests
    assert first.startswith("1.yaml:19:14: spec.devices.disks[0].source.dev: /dev/mapper/web is ")
    assert "web2 (2.yaml:19:14)" in first
    assert "web1 (1.yaml:19:14)" in second


def test_what_was_in_force_before_stays() -> None:
    before = snapshot(server("web1", LUN))

    after = snapshot(server("web1", LUN, title="new"), server("web2", LUN), previous=before)

    assert {"web1": before.manifests["web1"]} == after.manifests
    assert {"web1"} == after.retained


@pytest.mark.parametrize(
    "other",
    [
        IMAGE | {"source": {"file": "/srv//images/./b/../a.img"}},
        IMAGE | {"source": {"file": "//srv/images/a.img"}},
        IMAGE | {"driver": {"type": "qcow2"}, "device": "lun"},
    ],
    ids=str,
)
def test_one_path_however_it_is_written(other: dict[str, Any]) -> None:
    assert 2 == len(snapshot(server("web1", IMAGE), server("web2", other)).problems)


@pytest.mark.parametrize(
    "more",
    [
        {"readonly": True},
        {"device": "cdrom", "target": {"dev": "sda"}},
        {"source": {"file": "/srv/images/b.img"}},
    ],
    ids=str,
)
def test_what_is_not_written_to_alone(more: dict[str, Any]) -> None:
    assert () == snapshot(server("web1", IMAGE), server("web2", IMAGE | more)).problems


def test_shareable_in_one_alone_is_not_shared() -> None:
    """The other one relies on nothing but itself writing to it."""
    shared = IMAGE | {"shareable": True}

    assert 2 == len(snapshot(server("web1", IMAGE), server("web2", shared)).problems)
    assert () == snapshot(server("web1", shared), server("web2", shared)).problems


def test_a_disk_of_spec_xml() -> None:
    def said(more: str = "") -> str:
        disk = f"<disk><source file='/srv/images/a.img'/><target dev='vdz'/>{more}</disk>"
        return f"<domain><devices>{disk}</devices></domain>"

    clash = snapshot(server("web1", IMAGE), server("web2", xml=said()))
    one = snapshot(server("web1", IMAGE), server("web2", xml=said("<shareable/>")))
    shareable = server("web1", IMAGE | {"shareable": True})
    shared = snapshot(shareable, server("web2", xml=said("<shareable/>")))
    read = snapshot(server("web1", IMAGE), server("web2", xml=said("<readonly/>")))

    assert ["spec.devices.disks[0].source.file", "spec.xml"] == [p.field for p in clash.problems]
    assert 2 == len(one.problems)
    assert () == shared.problems == read.problems


class TestHosts:
    """Only what can be one disk: on one host, or in a directory that hosts share."""

    @pytest.mark.parametrize(
        ("one", "other", "clashes"),
        [
            ({"host": "h1"}, {"host": "h1"}, True),
            ({"host": "h1"}, {}, True),
            ({"host": "h1"}, {"host": "h2"}, False),
            ({"host": "h1", "hosts": ["h2"]}, {"host": "h2"}, True),
        ],
    )
    def test_by_the_hosts_that_they_may_be_on(
        self, one: dict[str, Any], other: dict[str, Any], clashes: bool
    ) -> None:
        found = snapshot(
            host("h1"), host("h2"), server("web1", IMAGE, **one), server("web2", IMAGE, **other)
        )

        assert clashes == bool(found.problems)

    @pytest.mark.parametrize(
        ("shared", "clashes"),
        [("/srv/images", True), ("/srv/images/", True), ("/srv/image", False)],
    )
    def test_in_a_directory_that_both_share(self, shared: str, clashes: bool) -> None:
        servers = server("web1", IMAGE, host="h1"), server("web2", IMAGE, host="h2")
        both = snapshot(host("h1", shared), host("h2", shared), *servers)
        one = snapshot(host("h1", shared), host("h2", "/other"), *servers)

        assert clashes == bool(both.problems)
        assert () == one.problems


def test_two_disks_of_one_virtual_server() -> None:
    """Told within its own file."""
    [problem] = snapshot(server("web1", IMAGE, IMAGE)).problems

    assert "spec.devices.disks[1].source.file" == problem.field
    assert "stands at spec.devices.disks[0].source.file already" in problem.message
