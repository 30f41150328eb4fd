"""Holds where no daemon answers: set and released in the state store itself.

The daemon reads it before each of its calls, so a hold counts from the moment on that it is stored.
"""

from __future__ import annotations

import getpass
import time
from contextlib import suppress
from dataclasses import dataclass

from reconvirt.cli.failure import Failure
from reconvirt.cli.state import store_of
from reconvirt.cli.wanted import connected, read_source, refuse_other_state
from reconvirt.controller.config import Config
from reconvirt.controller.holds import Hold, HoldStore
from reconvirt.domain.mark import read_mark
from reconvirt.domain.xmltree import parse_xml


@dataclass(frozen=True, slots=True)
class _Found:
    """A virtual server.

    Attributes:
        uuid: its uuid, in libvirt or as it will be; None if neither has it.
        confirmed: whether libvirt has it.
        manifest: whether it has a manifest.
        annotation: the reason in its manifest's annotation; None if it has none.
    """

    uuid: str | None
    confirmed: bool = False
    manifest: bool = False
    annotation: str | None = None


def hold_directly(config: Config, name: str, reason: str) -> Hold:
    """Have a virtual server left alone.

    Raises:
        Failure: there is no such one, or the hold cannot be stored.
    """
    refuse_other_state(config)
    found = _find(config, name)
    if found.uuid is None:
        raise Failure(f"{name}: no manifest states it, and libvirt has none that reconvirt made")
    hold = Hold(reason, getpass.getuser(), time.time())
    try:
        HoldStore(store_of(config)).add(found.uuid, name, hold, confirmed=found.confirmed)
    except OSError as error:
        raise Failure(f"{name} is not held: it cannot be stored: {error}") from error
    return hold


def release_directly(config: Config, name: str) -> None:
    """End a hold.

    Raises:
        Failure: there is none, its manifest holds it, or the end cannot be stored.
    """
    refuse_other_state(config)
    found = _find(config, name)
    holds = HoldStore(store_of(config))
    try:
        released = holds.release(found.uuid, name, annotation=not found.manifest)
    except OSError as error:
        raise Failure(f"{name} is not released: it cannot be stored: {error}") from error
    if released:
        return
    if found.annotation is not None:
        raise Failure(
            f"{name}: its manifest holds it\n"
            "Take the annotation reconvirt/hold out of the manifest."
        )
    raise Failure(f"{name} is not held")


def _find(config: Config, name: str) -> _Found:
    """What is known of a virtual server, as far as its manifest and libvirt can be read."""
    desired = None
    with suppress(Failure):
        desired = read_source(config).desired.get(name)
    manifest, annotation = desired is not None, desired.hold if desired else None
    with suppress(Failure), connected(config.connect) as hypervisor:
        observed = hypervisor.observe(name, desired.uuid if desired else None)
        if observed and (manifest or read_mark(parse_xml(observed.config)) is not None):
            return _Found(observed.uuid, True, manifest, annotation)
    return _Found(desired.expected_uuid if desired else None, False, manifest, annotation)
