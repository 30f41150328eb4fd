"""Hosts that were ever known are asked until they are shown to have none of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconvirt.controller.hosts.fences import Fence, Fences
from reconvirt.controller.hosts.known_hosts import KnownHost, KnownHosts
from reconvirt.controller.state_store import Document, StateStore, Unreadable
from reconvirt.domain.peers import HostAnswer, HostIdentity
from reconvirt.manifest.host import HostManifest

A, B = HostManifest("a", "test:///a"), HostManifest("b", "test:///b")
B_IDENTITY = HostIdentity("1", "b")


def known_hosts(directory: Path) -> KnownHosts:
    """What host a knows, as a process finds it that was just started."""
    return KnownHosts(StateStore(directory), "a")


def named(known: KnownHosts) -> list[tuple[str, bool]]:
    """Name of each other host, and whether a manifest describes it."""
    known.own_is_not_asked()
    return sorted((each.name, each.described) for each in known.others())


def test_a_manifest_that_is_gone_leaves_its_host(tmp_path: Path) -> None:
    """In the same commit, after a restart, and for a command with a single file."""
    known = known_hosts(tmp_path)
    assert "" == known.take({"a": A, "b": B})
    assert [("b", True)] == named(known)

    assert "" == known.take({"a": A})
    assert [("b", False)] == named(known)
    assert [("b", False)] == named(known_hosts(tmp_path))


def test_another_uri_of_a_name_is_another_host(tmp_path: Path) -> None:
    """The old one goes on to be asked, by its URI, until it is known to be the same."""
    known = known_hosts(tmp_path)
    known.take({"b": B})
    known.heard(B.uri, HostAnswer(identity=B_IDENTITY))
    moved = replace(B, uri="test:///elsewhere")

    known.take({"b": moved})
    assert [("b", True), (B.uri, False)] == named(known)
    known.heard(moved.uri, HostAnswer(identity=HostIdentity("2", "b")))
    assert [("b", True), (B.uri, False)] == named(known)

    known.heard(moved.uri, HostAnswer(identity=B_IDENTITY))
    assert [("b", True)] == named(known)


def test_another_libvirt_at_the_uri_of_a_retired_host_is_not_that_host(tmp_path: Path) -> None:
    """What it answers is not said by the one that was meant."""
    known = known_hosts(tmp_path)
    known.take({"b": B})
    known.heard(B.uri, HostAnswer(identity=B_IDENTITY))
    known.take({})

    before = known.heard(B.uri, HostAnswer(identity=HostIdentity("2", "new")))

    assert B_IDENTITY == before
    assert [B_IDENTITY] == [each.identity for each in known.others()]


@pytest.mark.parametrize(
    ("now", "stays"),
    [
        (HostIdentity("2", "new"), True),
        (HostIdentity("2", "b"), False),
        (HostIdentity("1", "b.example.com"), False),
    ],
)
def test_a_host_whose_uri_leads_to_another_one_stays_known(
    tmp_path: Path, now: HostIdentity, *, stays: bool
) -> None:
    """Its address was given away: what it runs, it runs on. A new uuid or name alone is no host."""
    known = known_hosts(tmp_path)
    known.take({"b": B})
    known.heard(B.uri, HostAnswer(identity=B_IDENTITY))

    assert B_IDENTITY == known.heard(B.uri, HostAnswer(identity=now))

    left = [("b", True), (f"{B.uri}#b", False)] if stays else [("b", True)]
    assert left == named(known)
    expected = {"b": now, f"{B.uri}#b": B_IDENTITY}
    assert all(each.identity == expected[each.name] for each in known.others())
    # Back again, at whatever URI: it is asked there.
    known.heard(B.uri, HostAnswer(identity=B_IDENTITY))
    assert f"{B.uri}#b" not in {each.name for each in known.others()}


def test_hosts_of_manifests_are_known_whatever_the_file_says(tmp_path: Path) -> None:
    """It was written by hand, or by a person who repaired it."""
    known = known_hosts(tmp_path)
    known.take({"b": B})

    (tmp_path / Document.HOSTS).write_text("{}", encoding="utf-8")
    known.forget("test:///none")  # Not to wait until it is read again.

    assert [("b", True)] == named(known)


@pytest.mark.parametrize("content", ["{", '{"test:///b": "no host"}', '{"version": 9}'])
def test_a_file_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path, content: str) -> None:
    """It is said, and the file stays as it is."""
    (tmp_path / Document.HOSTS).write_text(content, encoding="utf-8")
    known = known_hosts(tmp_path)

    assert known.take({"b": B}) != ""
    with pytest.raises(Unreadable):
        known.others()
    assert content == (tmp_path / Document.HOSTS).read_text(encoding="utf-8")


def test_a_host_that_cannot_be_kept_is_known_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the process lives, whatever its manifest does."""
    known = known_hosts(tmp_path)

    def full(_store: StateStore, _document: Document) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(StateStore, "change", full)

    assert "no space left on device" == known.take({"b": B})
    assert [("b", True)] == named(known)
    known.take({"a": A})
    assert [("b", False)] == named(known)


def test_a_host_is_forgotten_by_its_uri(tmp_path: Path) -> None:
    """For every process."""
    known = known_hosts(tmp_path)
    known.take({"b": B})

    known_hosts(tmp_path).forget(B.uri)

    assert [] == named(known_hosts(tmp_path))


HOST = KnownHost("b", B.uri, B_IDENTITY)


def fences(directory: Path) -> Fences:
    """The fences as a process finds them that was just started."""
    return Fences(StateStore(directory))


def test_a_fence_is_kept_until_its_host_answers(tmp_path: Path) -> None:
    """Whoever has asked it, and whatever for."""
    fences(tmp_path).add(HOST, Fence("power cut", "me", 100.0))
    assert fences(tmp_path).covers(HOST)

    fences(tmp_path).heard(HOST, "1", 101.0)

    assert not fences(tmp_path).covers(HOST)


def test_what_was_asked_before_does_not_end_a_fence(tmp_path: Path) -> None:
    """The answer was on its way when the power was cut."""
    fences(tmp_path).add(HOST, Fence("power cut", "me", 100.0))

    fences(tmp_path).heard(HOST, "1", 99.0)

    assert fences(tmp_path).covers(HOST)


def test_a_fence_is_of_the_host_that_was_meant(tmp_path: Path) -> None:
    """Not of the new machine of that name; it ends by whatever URI its host is heard of."""
    fences(tmp_path).add(HOST, Fence("power cut", "me", 100.0))
    new = KnownHost("b", "test:///new", HostIdentity("2", "b"))
    other_way = KnownHost("c", "test:///c")

    assert not fences(tmp_path).covers(new)
    fences(tmp_path).heard(new, "2", 101.0)
    assert fences(tmp_path).covers(HOST)
    fences(tmp_path).heard(other_way, "1", 101.0)
    assert not fences(tmp_path).covers(HOST)


def test_two_processes_lose_no_change_of_fences(tmp_path: Path) -> None:
    """The command has read the file; the daemon ends a fence; the command adds another one."""
    command, daemon = fences(tmp_path), fences(tmp_path)
    other = KnownHost("c", "test:///c")
    command.add(HOST, Fence("off", "me", 100.0))
    assert {"b"} == command.names() == daemon.names()

    daemon.heard(HOST, "1", 101.0)
    command.add(other, Fence("off", "me", 102.0))

    assert {"c"} == fences(tmp_path).names()


def test_a_fence_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    """It says no URI: whatever has its name."""
    text = '{"b": {"reason": "off", "who": "me", "since": 1.0}}'
    (tmp_path / Document.FENCES).write_text(text, encoding="utf-8")

    assert fences(tmp_path).covers(HOST)
    fences(tmp_path).heard(HOST, "1", 2.0)
    assert not fences(tmp_path).covers(HOST)


def test_where_fences_cannot_be_read_no_host_counts_as_off(tmp_path: Path) -> None:
    """The careful answer."""
    (tmp_path / Document.FENCES).write_text('{"b": 1}', encoding="utf-8")

    assert not fences(tmp_path).covers(HOST)


def test_a_sign_of_life_in_etcd_ends_a_fence(tmp_path: Path) -> None:
    """Not one that may be left from before."""
    fences(tmp_path).add(HOST, Fence("off", "me", 100.0))

    fences(tmp_path).seen_alive("b", 120.0, 30.0)
    assert fences(tmp_path).covers(HOST)
    fences(tmp_path).seen_alive("b", 131.0, 30.0)
    assert not fences(tmp_path).covers(HOST)


def test_fences_are_reported(tmp_path: Path) -> None:
    """When they are set, by whomever, and when they end."""
    told: list[str] = []
    watched = Fences(StateStore(tmp_path), lambda reason, _message: told.append(reason))
    fences(tmp_path).add(HOST, Fence("off", "me", 100.0))

    watched.names()
    watched.names()
    watched.heard(HOST, "1", 101.0)

    assert ["HostFenced", "FenceEnded"] == told
