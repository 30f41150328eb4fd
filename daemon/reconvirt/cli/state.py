"""What commands share with the daemon of what outlives both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from reconvirt.cli.failure import Failure
from reconvirt.controller.config import Config
from reconvirt.controller.holds import HoldStore
from reconvirt.controller.process_lock import (
    Holder,
    LockFailed,
    Taken,
    holder_of,
    libvirt_lock,
    state_lock,
)
from reconvirt.controller.state_store import Document, StateStore
from reconvirt.hypervisor.connection import Hypervisor


def store_of(config: Config) -> StateStore:
    """The state store of a configuration; one object a process."""
    return _store_at(config.state_directory)


def read_holds(config: Config) -> HoldStore:
    """Which virtual servers are left alone, as far as we may read it."""
    file = config.state_directory / Document.HOLDS
    if file.exists() and not os.access(file, os.R_OK):
        return HoldStore(StateStore())
    return HoldStore(store_of(config))


class DaemonRuns(Failure):
    """A daemon keeps the virtual servers of this libvirt.

    Args:
        daemon: the daemon.
        command: what is refused for it.
        why: why the daemon was not asked to do it; "" if it was not tried.

    Attributes:
        daemon: the daemon.
    """

    def __init__(self, daemon: Holder, command: str, why: str = "") -> None:
        reason = f" ({why})" if why else ""
        super().__init__(
            f"{command} is refused: {daemon} keeps the virtual servers of this libvirt{reason}\n"
            "It applies what is in its manifests by itself; 'reconvirt reconcile NAME' has it look "
            "at one now, and 'reconvirt reconcile --source' read the manifests now. To apply "
            "others, stop it first ('systemctl stop reconvirtd')."
        )
        self.daemon = daemon


@contextmanager
def sole_writer(config: Config, hypervisor: Hypervisor, command: str) -> Iterator[None]:
    """Be the only process that changes virtual servers of this libvirt, as long as the block runs.

    Raises:
        DaemonRuns: a daemon is.
        Failure: another command is; the text says which, and what to do.
    """
    instance = hypervisor.instance()
    if not instance:
        yield
        return
    lock = libvirt_lock(config, instance)
    try:
        lock.take(holder_of(config, command))
    except Taken as taken:
        if taken.holder.is_daemon:
            raise DaemonRuns(taken.holder, command) from taken
        raise Failure(str(taken)) from taken
    except LockFailed as failed:
        raise Failure(str(failed)) from failed
    try:
        yield
    finally:
        lock.release()


def daemon_of(config: Config, hypervisor: Hypervisor | None = None) -> Holder | None:
    """The daemon that has our state directory or this libvirt; None if none runs.

    Args:
        config: where they are.
        hypervisor: the connection; None to ask for the state directory alone.
    """
    locks = [state_lock(config)]
    if hypervisor is not None and (instance := hypervisor.instance()):
        locks.append(libvirt_lock(config, instance))
    for lock in locks:
        try:
            holder = lock.holder()
        except OSError:
            continue  # Who may not look into our state directory finds the other lock.
        if holder is not None and (holder.is_daemon or not holder.pid):
            return holder
    return None


@cache
def _store_at(directory: Path) -> StateStore:
    return StateStore(directory)
