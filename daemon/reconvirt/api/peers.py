"""Who is at the other end of the socket, and what they may do: the kernel says it, nobody else."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import Protocol

_SO_PEERGROUPS = 59  # <asm-generic/socket.h>; Python has no name for it
_MOST_BYTES = 1024  # what Python's getsockopt takes: 256 groups


class Options(Protocol):
    """What a socket and asyncio's view of one have in common."""

    def getsockopt(self, level: int, name: int, length: int, /) -> bytes:
        """As of a socket."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A process at the other end, as it was when it connected.

    Attributes:
        pid: its number.
        uid: its user.
        groups: its groups.
    """

    pid: int
    uid: int
    groups: frozenset[int]

    @property
    def user(self) -> str:
        """Its user's name; the number of a user without a name."""
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(self.uid).pw_name
        return str(self.uid)


def peer_of(connection: Options) -> Peer:
    """Who is at the other end of a connected unix socket.

    Raises:
        OSError: it is none.
    """
    form = "3i"
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form))
    pid, uid, gid = struct.unpack(form, packed)
    return Peer(pid, uid, frozenset({gid, *_groups_of(connection)}))


def _groups_of(connection: Options) -> list[int]:
    """The supplementary groups; none of a process that has more than can be asked for.

    So it is refused rather than let in.
    """
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)
    except OSError as error:
        if error.errno == errno.ERANGE:
            return []
        raise
    return [each for (each,) in struct.iter_unpack("I", packed)]


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what, besides root and the daemon's own user.

    Attributes:
        readers: the group that may read; None for nobody else.
        writers: the group that may change something, too; None for nobody else.
    """

    readers: int | None = None
    writers: int | None = None

    @property
    def socket_group(self) -> int | None:
        """The group of the socket file, which whoever is to connect must be in."""
        return self.writers if self.readers is None else self.readers

    def may_read(self, peer: Peer) -> bool:
        """Whether it may see everything there is to see."""
        return self.may_write(peer) or self.readers in peer.groups

    def may_write(self, peer: Peer) -> bool:
        """Whether it may have something done."""
        return peer.uid in (0, os.geteuid()) or self.writers in peer.groups


def find_access(readers: str | None, writers: str | None) -> Access:
    """Who may do what, by names of groups; None for no group.

    Raises:
        LookupError: there is no such group; the text is for people.
    """
    return Access(_group("socket.read_group", readers), _group("socket.write_group", writers))


def _group(setting: str, name: str | None) -> int | None:
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise LookupError(f"{setting}: this host has no group {name}") from None
