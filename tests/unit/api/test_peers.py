"""Who is at the other end, and what they may do."""

from __future__ import annotations

import os
import socket

import pytest

from reconvirt.api.peers import Access, Peer, find_access, peer_of

ROOT = Peer(1, 0, frozenset())
ANYBODY = Peer(1, 4711, frozenset({4711}))
READER = Peer(1, 4711, frozenset({4711, 50}))
WRITER = Peer(1, 4711, frozenset({4711, 60}))


def test_the_kernel_says_who_it_is() -> None:
    """Process, user and groups."""
    ours, its = socket.socketpair(socket.AF_UNIX)
    with ours, its:
        peer = peer_of(ours)

    assert (os.getpid(), os.getuid()) == (peer.pid, peer.uid)
    assert {os.getgid(), *os.getgroups()} == peer.groups


def test_a_user_without_a_name() -> None:
    assert "4711" == ANYBODY.user
    assert "root" == ROOT.user


@pytest.mark.parametrize(
    ("access", "readers", "writers"),
    [
        (Access(), {ROOT}, {ROOT}),
        (Access(readers=50), {ROOT, READER}, {ROOT}),
        (Access(readers=50, writers=60), {ROOT, READER, WRITER}, {ROOT, WRITER}),
        (Access(writers=60), {ROOT, WRITER}, {ROOT, WRITER}),
    ],
)
def test_who_may_do_what(access: Access, readers: set[Peer], writers: set[Peer]) -> None:
    """Who may have something done may read, too."""
    everybody = {ROOT, ANYBODY, READER, WRITER}

    assert readers == {each for each in everybody if access.may_read(each)}
    assert writers == {each for each in everybody if access.may_write(each)}


def test_groups_by_name() -> None:
    """An unknown one opens nothing."""
    assert Access(0, None) == find_access("root", None)
    assert 0 == find_access(None, "root").socket_group
    with pytest.raises(LookupError, match=r"socket\.write_group: this host has no group"):
        find_access("root", "no-such-group")
