"""The source of manifests that the configuration states."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol

from reconvirt.controller.config import Config
from reconvirt.controller.liveness import Beat
from reconvirt.controller.source.directory import DirectorySource
from reconvirt.controller.source.git_source import GitSource
from reconvirt.manifest.model import Snapshot


class Source(Protocol):
    """Snapshots of the manifests, wherever they are."""

    beat: Beat
    """Signs of life of :meth:`watch`."""

    def read(self) -> Snapshot:
        """The manifests now; what cannot be read leaves in force what was there before."""

    def includes(self, revision: str) -> bool | None:
        """Whether the manifests in force are of this revision or a later one; None: not known."""

    def poke(self) -> None:
        """Have the source looked at now."""

    def watch(self, stop: threading.Event) -> Iterator[Snapshot]:
        """The snapshot now, and one each time that something has changed, until ``stop``."""


def make_source(config: Config, *, keep: bool = False) -> Source:
    """The source of a configuration.

    Args:
        config: the configuration.
        keep: whether the last good commit is written down for the next start.
    """
    strict = not config.source.trust_writable
    if config.source.git is not None:
        memory = config.state_directory / "good-commit"
        return GitSource(config.source.git, config.rescan_seconds, memory, keep=keep, strict=strict)
    return DirectorySource(
        config.desired,
        debounce=config.debounce_seconds,
        rescan=config.rescan_seconds,
        strict=strict,
    )


def name_source(config: Config) -> str:
    """What the source is called, for people."""
    git = config.source.git
    return str(config.desired if git is None else git.repository)
