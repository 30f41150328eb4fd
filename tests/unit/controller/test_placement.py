"""Whose business a virtual server is, when manifests of hosts go, change or cannot be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from peer_hosts import Rounds, Said, known
from reconvirt.controller.config import Config
from reconvirt.controller.config.source import SourceSettings
from reconvirt.controller.hosts.claims import ASKING, InventoryClaims
from reconvirt.controller.hosts.known_hosts import KnownHost, KnownHosts
from reconvirt.controller.hosts.placement import Placement
from reconvirt.controller.outcome import Outcome, Phase
from reconvirt.controller.prune import Orphan
from reconvirt.controller.state_store import Document, StateStore, Unreadable
from reconvirt.domain.desired import NOTHING, ON_REMOVAL, Desired, Statement, desire
from reconvirt.domain.mark import write_mark
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.ownership import IDENTITY_UUID
from reconvirt.domain.placing import Inventory
from reconvirt.domain.xmltree import parse_xml
from reconvirt.manifest.host import HostManifest
from reconvirt.manifest.load import assemble, load_file
from reconvirt.manifest.model import Snapshot, SourceFile

WEB1 = Desired("web1", None, "running", NOTHING, host="zhost1")
HERE = HostManifest("zhost1", "test:///zhost1")


def host(name: str) -> SourceFile:
    """The manifest of a host."""
    text = {
        "apiVersion": "reconvirt/v1",
        "kind": "Host",
        "metadata": {"name": name},
        "spec": {"uri": f"qemu+tcp://{name}/system"},
    }
    return SourceFile(f"/d/hosts/{name}.yaml", yaml.safe_dump(text).encode())


def server(**spec: str) -> SourceFile:
    """The manifest of web1."""
    text = {
        "apiVersion": "reconvirt/v1",
        "kind": "VirtualServer",
        "metadata": {"name": "web1"},
        "spec": {
            "memory": "1 GiB",
            "vcpu": 1,
            "os": {"arch": "s390x", "machine": "s390-ccw-virtio"},
            **spec,
        },
    }
    return SourceFile("/d/web1.yaml", yaml.safe_dump(text).encode())


class Daemon:
    """zhost1, which has read some manifests before, and is asked what it does with others."""

    def __init__(self, directory: Path, *said: Said | None) -> None:
        self.known = KnownHosts(StateStore(directory), "zhost1")
        self.rounds = Rounds(*said)
        self.inventory = Inventory("zhost1")
        claims = InventoryClaims(self.rounds, self.known.others, lambda _host: False)
        self.placement = Placement(lambda: self.inventory, claims, None, self.known.others)

    def read(self, *files: SourceFile, before: Snapshot | None = None) -> Snapshot:
        """Read manifests, and take over their hosts."""
        snapshot = assemble([load_file(each) for each in files], "r", before)
        self.known.take(snapshot.hosts)
        self.known.own_is_not_asked()
        shared = Config().shares_source(snapshot.hosts, known=bool(self.known.others()))
        self.inventory = Inventory("zhost1", snapshot.hosts, shared)
        return snapshot

    def judge(self, snapshot: Snapshot) -> Outcome:
        """What is said of web1, which is not here and needs the word of others."""
        desired = desire(snapshot.manifests["web1"])
        assert not self.placement.alone(desired)
        outcome = self.placement.judge(desired, None)
        assert outcome is not None
        return outcome


RUNS_THERE: Said = {
    "zhost2": {WEB1.expected_uuid: ("web1", State.RUNNING, "booted")},
}
BOTH = (host("zhost1"), host("zhost2"), server(host="zhost2"))


def test_one_commit_takes_it_here_and_the_manifest_of_its_host_away(tmp_path: Path) -> None:
    """The other host is asked all the same."""
    daemon = Daemon(tmp_path, RUNS_THERE)
    before = daemon.read(*BOTH)

    snapshot = daemon.read(host("zhost1"), server(host="zhost1"), before=before)

    assert "zhost2 has it, running (booted)" == daemon.judge(snapshot).message


BROKEN = SourceFile("/d/hosts/zhost2.yaml", b"apiVersion: reconvirt/v1\nkind: Host\nspec: {u: 1}\n")


@pytest.mark.parametrize("restarted", [False, True])
def test_a_manifest_of_a_host_cannot_be_read(tmp_path: Path, restarted: bool) -> None:
    """A restart does not make its daemon forget that host."""
    before = Daemon(tmp_path).read(*BOTH)
    daemon = Daemon(tmp_path, RUNS_THERE)

    snapshot = daemon.read(
        *(host("zhost1"), BROKEN, server(host="zhost1")), before=None if restarted else before
    )

    assert snapshot.problems
    assert "zhost2 has it, running (booted)" == daemon.judge(snapshot).message


def test_a_single_file_without_hosts(tmp_path: Path) -> None:
    """It does not say where it shall be, and another host is known: it is refused."""
    Daemon(tmp_path).read(*BOTH)
    daemon = Daemon(tmp_path)

    outcome = daemon.judge(daemon.read(server()))

    assert Phase.REFUSED is outcome.phase
    assert "shared = false" in outcome.message


def test_where_the_known_hosts_cannot_be_read_nothing_starts(tmp_path: Path) -> None:
    """For no purpose, and it is said why."""
    (tmp_path / Document.HOSTS).write_text("{", encoding="utf-8")
    daemon = Daemon(tmp_path)

    assert not daemon.placement.alone(WEB1)
    for purpose in ("define", "start", "resume"):
        why = daemon.placement.why_not(WEB1, WEB1.expected_uuid, "web1", purpose)
        assert "hosts.json cannot be read" in why


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, ASKING),
        ({"zhost2": "no route"}, "zhost2 may have it, and cannot be asked (no route)"),
        ({"zhost2": {}}, ""),
        (RUNS_THERE, ""),  # An earlier migration may have left it there.
    ],
)
def test_nothing_is_taken_from_it_for_a_move_to_where_nobody_answers(
    tmp_path: Path, said: Said | None, why: str
) -> None:
    """It would be without its hotplug devices for as long as its destination is off."""
    daemon = Daemon(tmp_path, said)
    daemon.read(*BOTH)

    found = daemon.placement.why_not_leave(replace(WEB1, host="zhost2"), observed(State.RUNNING))

    assert why == found.partition(";")[0]


def observed(
    state: State = State.SHUTOFF, *, marked: bool = True, uuid: str = "", reason: str = ""
) -> Observed:
    """What is here."""
    root = parse_xml("<domain type='kvm'><name>web1</name></domain>")
    uuid = uuid or WEB1.expected_uuid
    if marked:
        write_mark(root, Statement({}, {}, notes={IDENTITY_UUID: WEB1.expected_uuid}))
    from lxml import etree  # noqa: PLC0415 - for this one call

    xml = etree.tostring(root, encoding="unicode")
    live = None if state is State.SHUTOFF else xml
    return Observed("web1", uuid, None, state, reason, xml, live)


ANYWHERE = replace(WEB1, host=None)


@pytest.mark.parametrize(
    ("seen", "shared", "refused"),
    [
        (None, True, True),
        (None, False, False),
        (observed(), True, False),
        (observed(marked=False), True, True),
        (observed(marked=False), False, False),
        (observed(State.RUNNING, marked=False), True, False),
    ],
)
def test_one_without_spec_host_belongs_to_where_its_mark_is(
    seen: Observed | None, shared: bool, refused: bool
) -> None:
    """Others may read the same manifests: what carries no mark is not started; what runs stays."""
    inventory = Inventory("zhost1", {}, shared)

    assert refused is ("spec.host must say" in inventory.refusal(ANYWHERE, seen))


def test_a_clone_does_not_carry_the_mark_of_its_origin() -> None:
    """The metadata was written for another uuid."""
    clone = "8f1c6a0e-5d0b-4c36-9d0e-6b0f6c1f2a11"
    desired = replace(ANYWHERE, uuid=clone)

    assert Inventory("zhost1", {}, shared=True).refusal(desired, observed(uuid=clone))


def test_one_for_this_very_libvirt_by_another_name() -> None:
    """It is said what to set."""
    hosts = {"zhost1": HERE, "zhost2": replace(HERE, name="zhost2", uri="test:///zhost2")}
    inventory = Inventory("zhost1.example.com", hosts, True, frozenset({"zhost1"}))

    assert 'set host_name = "zhost1"' in inventory.refusal(WEB1, None)
    assert "" == inventory.refusal(replace(WEB1, host="zhost2"), observed())


@pytest.mark.parametrize(
    ("stated", "hosts", "known_others", "shared"),
    [
        (None, (), False, False),
        (None, ("zhost1",), False, True),
        (None, (), True, True),
        (False, ("zhost1",), True, False),
        (True, (), False, True),
    ],
)
def test_who_reads_the_source(
    stated: bool | None, hosts: Iterable[str], known_others: bool, shared: bool
) -> None:
    """A plain directory is this host's own until a host is described or known."""
    config = Config(source=SourceSettings(shared=stated))

    assert shared is config.shares_source(tuple(hosts), known=known_others)


@pytest.mark.parametrize("more", [{"host_name": "zhost1"}, {"claims": "etcd"}])
def test_who_names_this_host_has_others(more: dict[str, str]) -> None:
    """Also where nothing is known of them yet."""
    assert Config(**more).shares_source((), known=False)
    assert not Config(**more, source=SourceSettings(shared=False)).shares_source((), known=False)


def placement(*said: Said | None, others: tuple[KnownHost, ...] = ()) -> Placement:
    """That of zhost1, which knows another host."""
    others = others or known("zhost2")
    claims = InventoryClaims(Rounds(*said), lambda: others, lambda _host: False)
    inventory = Inventory("zhost1", {"zhost1": HERE}, shared=True)
    return Placement(lambda: inventory, claims, None, lambda: others)


def test_planning_and_the_guard_get_one_answer() -> None:
    """No further round is begun for the call."""
    found = placement(None, {"zhost2": {}})
    asked = (WEB1, WEB1.expected_uuid, "web1", "start")

    assert [ASKING, "", "", ""] == [found.why_not(*asked) for _ in range(4)]


def test_a_start_is_asked_again_after_its_definition_was_gone() -> None:
    """An answer from before it was written does not count."""
    found = placement({"zhost2": {}}, {"zhost2": {}}, None)
    asked = (WEB1, WEB1.expected_uuid, "web1", "start")
    assert "" == found.why_not(*asked)

    assert found.judge(WEB1, None) is None

    assert ASKING == found.why_not(*asked)


@pytest.mark.parametrize("reason", ["migrating", "starting up", "post-copy", "user"])
def test_an_orphan_is_resumed_only_if_no_other_host_has_it(reason: str) -> None:
    """It is asked as a start is; one that is kept is nobody's business."""
    paused = observed(State.PAUSED, reason=reason)

    def why(policy: str, *said: Said | None) -> str:
        mark = Statement({}, {}, notes={ON_REMOVAL: policy})
        orphan = Orphan("web1", WEB1.expected_uuid, mark)
        return placement(*said).why_not_resume(orphan, paused)

    assert ASKING == why("shutdown", None)
    assert "zhost2 has it" in why("undefine", RUNS_THERE)
    assert "" == why("shutdown", {"zhost2": {}})
    assert "" == why("keep")


def test_known_hosts_that_cannot_be_read_are_reported_by_the_question() -> None:
    """The store has the file, and says what to do."""

    def unreadable() -> tuple[KnownHost, ...]:
        raise Unreadable("hosts.json cannot be read")

    claims = InventoryClaims(Rounds(), unreadable, lambda _host: False)
    found = Placement(lambda: Inventory("zhost1"), claims, None, unreadable)

    assert "hosts.json" in found.why_not(WEB1, WEB1.expected_uuid, "web1", "start")
