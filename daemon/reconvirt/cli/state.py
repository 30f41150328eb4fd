"""What commands share with the daemon of what outlives both."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from reconvirt.controller.config import Config
from reconvirt.controller.holds import HoldStore
from reconvirt.controller.state_store import Document, StateStore


def store_of(config: Config) -> StateStore:
    """The state store of a configuration; one object a process."""
    return _store_at(config.state_directory)


def read_holds(config: Config) -> HoldStore:
    """Which virtual servers are left alone, as far as we may read it."""
    file = config.state_directory / Document.HOLDS
    if file.exists() and not os.access(file, os.R_OK):
        return HoldStore(StateStore())
    return HoldStore(store_of(config))


@cache
def _store_at(directory: Path) -> StateStore:
    return StateStore(directory)
