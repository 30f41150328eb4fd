"""What other hosts are asked at every resync, and which of them are forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from peer_hosts import identity
from reconvirt.controller.hosts.census import Answer, Asked
from reconvirt.controller.hosts.fences import Fence, Fences
from reconvirt.controller.hosts.known_hosts import KnownHosts
from reconvirt.controller.hosts.migration_journal import NOTHING, Entry, MigrationJournal
from reconvirt.controller.hosts.resync import HostResync
from reconvirt.controller.state_store import Document, StateStore
from reconvirt.domain.desired import NOTHING as NO_STATEMENT
from reconvirt.domain.desired import Desired
from reconvirt.domain.observed import State
from reconvirt.domain.peers import HostAnswer
from reconvirt.manifest.host import HostManifest

WEB1 = Desired("web1", None, "running", NO_STATEMENT, host="a")
UUID = WEB1.expected_uuid
RUNNING = (State.RUNNING, "booted")
B, C = HostManifest("b", "test:///b"), HostManifest("c", "test:///c")


class Host:
    """Host a and what it knows, as a process finds it that was just started."""

    def __init__(self, directory: Path) -> None:
        self._store = store = StateStore(directory)
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, bool]] = []
        self.running: list[str] = []
        self.told: list[str] = []
        self.known = KnownHosts(store, "a")
        self.fences = Fences(store)
        self.journal = MigrationJournal(store)
        self.resync = HostResync(
            "test:///own",
            self.known,
            self.fences,
            self,
            self.journal,
            lambda: {"web1": WEB1},
            self.running.append,
            lambda reason, _message: self.told.append(reason),
        )
        self.answer("", {}, host="a")

    def answer(
        self,
        name: str,
        servers: Mapping[str, tuple[str, State, str]],
        *,
        host: str = "",
        ours: Iterable[str] = (),
    ) -> None:
        """Have a host answer from now on."""
        self.answers[name] = HostAnswer(servers, identity(host or name), frozenset(ours))

    def survey(self, hosts: Iterable[Asked], *, marks: bool = False) -> Mapping[str, Answer]:
        """As a census has it."""
        found = {}
        for each in hosts:
            self.asked.append((each.name, marks))
            found[each.name] = answer = self.answers.get(each.name, "no route to host")
            if isinstance(answer, HostAnswer):
                self.known.heard(each.uri, answer)
        return found

    def run(self) -> list[str]:
        """One resync; the names of the other hosts that were asked."""
        self.asked.clear()
        self.resync.run()
        return [name for name, _ in self.asked if name]

    def names(self) -> list[str]:
        """The hosts that are known."""
        return [each.name for each in self.known.others()]

    def known_after_restart(self) -> list[str]:
        """Those that are known before any manifest is read."""
        return [each.name for each in KnownHosts(self._store, "a").others()]


def test_in_steady_state_nobody_is_asked(tmp_path: Path) -> None:
    """Once a described host has answered, it is left alone."""
    here = Host(tmp_path)
    here.known.take({"b": B})
    here.answer("b", {})

    assert [["b"], [], []] == [here.run() for _ in range(3)]


def test_a_fenced_host_is_asked_each_time(tmp_path: Path) -> None:
    """Whatever it has; its answer ends the fence."""
    here = Host(tmp_path)
    here.known.take({"b": B})
    here.answer("b", {})
    here.run()
    (b,) = here.known.others()
    here.fences.add(b, Fence("off", "me", 1.0))

    assert [["b"], ["b"]] == [here.run() for _ in range(2)]


@pytest.mark.parametrize(
    ("servers", "ours"),
    [
        ({UUID: ("renamed", *RUNNING)}, ()),
        ({"x": ("web1", *RUNNING)}, ()),
        ({"x": ("other", State.SHUTOFF, "")}, ["x"]),
    ],
)
def test_a_retired_host_stays_while_it_has_one_of_ours(
    tmp_path: Path, servers: dict[str, tuple[str, State, str]], ours: list[str]
) -> None:
    """By uuid, by name, or by what was last applied."""
    here = Host(tmp_path)
    here.known.take({"b": B})
    here.known.take({})
    here.answer("b", servers, ours=ours)

    assert [["b"], ["b"]] == [here.run() for _ in range(2)]
    assert ["b"] == here.names()

    here.answer("b", {"y": ("foreign", *RUNNING)})
    here.run()
    assert [] == here.names()
    assert ["HostForgotten"] == here.told


def test_a_retired_host_stays_while_it_does_not_answer(tmp_path: Path) -> None:
    """Or while another libvirt answers there."""
    here = Host(tmp_path)
    here.known.take({"b": B})
    here.answer("b", {})
    here.run()
    here.known.take({})

    del here.answers["b"]
    here.run()
    assert ["b"] == here.names()
    here.answer("b", {}, host="new")
    here.run()
    here.run()
    assert ["b"] == here.names()


def test_a_retired_host_stays_while_one_goes_there(tmp_path: Path) -> None:
    """It has none of ours, yet."""
    here = Host(tmp_path)
    here.known.take({"b": B})
    here.known.take({})
    here.answer("b", {})
    here.journal.begin(UUID, Entry("web1", "b", uri=B.uri, before=NOTHING))

    here.run()
    assert ["b"] == here.names()
    here.journal.stay("web1")
    here.run()
    assert [] == here.names()


def test_this_very_libvirt_by_another_name(tmp_path: Path) -> None:
    """It is noticed while it is described, and dropped when it is not."""
    here = Host(tmp_path)
    here.known.take({"b": B, "c": C})
    here.answer("b", {UUID: ("web1", *RUNNING)}, host="a")
    here.answer("c", {})
    here.run()

    assert {"b"} == here.resync.also_own(here.known.others())
    here.known.take({"c": C})
    here.run()
    assert ["c"] == here.names()


def test_what_runs_here_is_claimed(tmp_path: Path) -> None:
    """Of ours, also what is held or has no manifest; not what is arriving."""
    here = Host(tmp_path)
    here.answer(
        "",
        {
            "1": ("runs", *RUNNING),
            "2": ("paused", State.PAUSED, "user"),
            "3": ("arrives", State.PAUSED, "migrating"),
            "4": ("off", State.SHUTOFF, ""),
            "5": ("foreign", *RUNNING),
        },
        host="a",
        ours=["1", "2", "3", "4"],
    )

    here.run()

    assert ["1", "2"] == here.running


def test_hosts_that_cannot_be_read_are_reported_once(tmp_path: Path) -> None:
    """Until they can."""
    (tmp_path / Document.HOSTS).write_text("{", encoding="utf-8")
    here = Host(tmp_path)

    here.run()
    here.run()

    assert ["HostsUnreadable"] == here.told


A = HostManifest("a", "test:///a")


def test_the_manifest_of_its_own_name_leads_here(tmp_path: Path) -> None:
    """It is asked until that is known, and then no more."""
    here = Host(tmp_path)
    here.known.take({"a": A, "b": B})
    assert ["b", A.uri] == sorted(here.names())
    here.answer(A.uri, {}, host="a")

    here.run()

    assert (["b"], []) == (here.names(), here.told)
    assert A.uri not in here.known_after_restart()


def test_a_host_that_has_the_name_of_this_one_is_another_one(tmp_path: Path) -> None:
    """A configuration was copied: the one that was meant is asked, now and after a restart."""
    here = Host(tmp_path)
    here.known.take({"a": A})
    here.answer(A.uri, {UUID: ("web1", *RUNNING)}, host="the real one")

    here.run()
    here.run()

    assert ([A.uri], ["HostNameTaken"]) == (here.names(), here.told)
    here.answers[A.uri] = "no route to host"
    here.run()
    assert [A.uri] == here.names()
    assert [A.uri] == here.known_after_restart()


def test_a_host_that_does_not_let_itself_in_has_its_name(tmp_path: Path) -> None:
    """Or nothing would ever be started there."""
    here = Host(tmp_path)
    here.known.take({"a": A})

    here.run()

    assert ([], []) == (here.names(), here.told)
