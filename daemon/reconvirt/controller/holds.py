"""Holds: virtual servers that are left alone on purpose, and who set the hold.

A hold belongs to a uuid, so it stays with its virtual server when that is renamed, by its manifest
or by ``virsh domrename``. The name is stored beside it: for people, for a virtual server whose uuid
libvirt has not confirmed yet, and for entries of earlier versions, which have only the name.

A hold that a manifest's annotation sets is stored as well, so that it outlives the manifest: it
ends when the manifest is back without it, or when a person releases it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog

from reconvirt.controller.state_store import Document, StateStore, Unreadable

_log = structlog.get_logger(__name__)

BY_MANIFEST, BY_US = "manifest", "reconvirt"
"""Who set a hold, where that is not a person."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a virtual server is left alone.

    Attributes:
        reason: why.
        who: who set it: a user's name, ``manifest``, or ``reconvirt`` where the holds cannot be
            read.
        since: since when, in seconds since the epoch.
    """

    reason: str
    who: str
    since: float

    def __str__(self) -> str:
        return f"{self.reason} ({self.who})"


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is stored for one uuid.

    Attributes:
        name: the virtual server's name when it was last observed.
        hold: the hold that a person has set; None for none.
        annotation: the reason in its manifest's annotation; None for none.
        provisional: whether the key is not a uuid that libvirt has shown: then the name counts,
            and the key is replaced when libvirt shows it.
    """

    name: str
    hold: Hold | None = None
    annotation: str | None = None
    provisional: bool = False

    @property
    def any(self) -> Hold | None:
        """The hold that counts; a person's says more than the annotation's."""
        if self.hold is None and self.annotation is not None:
            return Hold(self.annotation, BY_MANIFEST, 0.0)
        return self.hold

    def with_other(self, other: _Entry) -> _Entry:
        """This one, with what only the other one has."""
        hold, annotation = self.hold or other.hold, self.annotation
        return replace(
            self, hold=hold, annotation=other.annotation if annotation is None else annotation
        )


class HoldStore:
    """The holds of one host. Any thread of any process may use it.

    Args:
        store: where they are stored.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._parsed: tuple[Mapping[str, Any], Mapping[str, _Entry]] = ({}, {})

    def find(self, uuid: str, name: str) -> Hold | None:
        """The hold on a virtual server, as it is stored now; None for none.

        Args:
            uuid: its uuid in libvirt, or the one that it will get.
            name: its name, which counts where no hold has the uuid.
        """
        try:
            entries = self._read()
        except Unreadable as error:
            return Hold(f"{error}; until then everything counts as held", BY_US, 0.0)
        found = [entries[key].any for key in _matching(entries, uuid, name)]
        return min(filter(None, found), key=lambda hold: hold.who == BY_MANIFEST, default=None)

    @property
    def empty(self) -> bool:
        """Whether nothing is on hold."""
        try:
            return not self._read()
        except Unreadable:
            return False

    def add(self, uuid: str, name: str, hold: Hold, *, confirmed: bool) -> None:
        """Set a hold; it replaces another one that a person has set.

        Args:
            uuid: the virtual server's uuid.
            name: its name.
            hold: the hold.
            confirmed: whether libvirt has shown that uuid; else it is only expected.

        Raises:
            OSError: it cannot be stored; nothing has changed.
        """
        with self._change() as entries:
            _merge(entries, uuid, _Entry(name, hold, provisional=not confirmed))

    def release(self, uuid: str | None, name: str, *, annotation: bool = False) -> bool:
        """End the hold that a person has set; False if there was none.

        Args:
            uuid: the virtual server's uuid; None if neither libvirt nor a manifest has it any more.
            name: its name.
            annotation: whether to end as well what an annotation has set, as its manifest is gone.

        Raises:
            OSError: it cannot be stored; nothing has changed.
        """
        released = False
        with self._change() as entries:
            for key in _matching(entries, uuid, name):
                before = entries[key]
                left = None if annotation else before.annotation
                entries[key] = replace(before, hold=None, annotation=left)
                released = released or entries[key] != before
        return released

    def note_annotations(self, stated: Mapping[str, tuple[str, str | None]]) -> None:
        """Take over what the manifests in force say; what others said before stays.

        What cannot be stored is logged, and tried again the next time.

        Args:
            stated: by name, the uuid that the virtual server has or will get, and the reason in
                the annotation; None if it has none.
        """
        with _logged():
            if _annotated(self._read(), stated):
                with self._change() as entries:
                    entries.update(_annotated(entries, stated))

    def observed(self, virtual_servers: Mapping[str, str]) -> None:
        """Take over uuids and names as libvirt has them: a hold stays with its uuid.

        What cannot be stored is logged, and tried again the next time.

        Args:
            virtual_servers: names by uuid.
        """
        with _logged():
            if not _to_bind(self._read(), virtual_servers):
                return
            with self._change() as entries:
                for key, uuid in _to_bind(entries, virtual_servers).items():
                    entry = replace(entries.pop(key), name=virtual_servers[uuid], provisional=False)
                    _merge(entries, uuid, entry)

    @contextmanager
    def _change(self) -> Iterator[dict[str, _Entry]]:
        with self._store.change(Document.HOLDS) as raw:
            entries = _parse(raw)
            yield entries
            raw.clear()
            raw.update({key: _as_json(each) for key, each in entries.items() if each.any})

    def _read(self) -> Mapping[str, _Entry]:
        raw = self._store.read(Document.HOLDS)
        known = self._parsed
        if known[0] is not raw:
            self._parsed = known = (raw, _parse(raw))
        return known[1]


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except Unreadable:
        return  # The store reports it, and everything is held.
    except OSError as error:
        _log.error("not stored", document=Document.HOLDS, error=str(error))


def _matching(entries: Mapping[str, _Entry], uuid: str | None, name: str) -> list[str]:
    """The keys of the entries that are about a virtual server."""
    provisional = [key for key, each in entries.items() if each.provisional and each.name == name]
    if uuid is not None and uuid in entries:
        return list(dict.fromkeys((uuid, *provisional)))
    return [key for key, each in entries.items() if each.name == name]


def _merge(entries: dict[str, _Entry], key: str, entry: _Entry) -> None:
    """Store an entry that may meet others of the same virtual server."""
    for other in _matching(entries, key, entry.name):
        if other == key or entries[other].provisional:
            known = entries.pop(other)
            entry = entry.with_other(known)
            entry = replace(entry, provisional=entry.provisional and known.provisional)
    entries[key] = entry


def _annotated(
    entries: Mapping[str, _Entry], stated: Mapping[str, tuple[str, str | None]]
) -> dict[str, _Entry]:
    """The entries that are other ones by what manifests say."""
    named: dict[str, list[str]] = {}
    for key, entry in entries.items():
        named.setdefault(entry.name, []).append(key)
    changed: dict[str, _Entry] = {}
    for name, (uuid, reason) in stated.items():
        keys = [
            key for key in named.get(name, ()) if uuid not in entries or entries[key].provisional
        ]
        keys += [uuid] if uuid in entries and uuid not in keys else []
        for key in keys:
            if entries[key].annotation != reason:
                changed[key] = replace(entries[key], annotation=reason)
        if not keys and reason is not None:
            changed[uuid] = _Entry(name, annotation=reason, provisional=True)
    return changed


def _to_bind(
    entries: Mapping[str, _Entry], virtual_servers: Mapping[str, str]
) -> Mapping[str, str]:
    """The entries that are to be stored under another uuid or name: uuids by their keys."""
    by_name = {name: uuid for uuid, name in virtual_servers.items()} if entries else {}
    found: dict[str, str] = {}
    for key, entry in entries.items():
        name = virtual_servers.get(key)
        if name is not None and (entry.provisional or name != entry.name):
            found[key] = key
        elif name is None and entry.provisional and entry.name in by_name:
            found[key] = by_name[entry.name]
    return found


def _as_json(entry: _Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        **(asdict(entry.hold) if entry.hold else {}),
        **({"annotation": entry.annotation} if entry.annotation is not None else {}),
        **({"provisional": True} if entry.provisional else {}),
    }


def _parse(raw: Mapping[str, Any]) -> dict[str, _Entry]:
    """The entries.

    Raises:
        Unreadable: one of them is none; what it was meant to hold is not known.
    """
    return {key: _parse_one(key, value) for key, value in raw.items()}


def _parse_one(key: str, value: Any) -> _Entry:
    try:
        hold = None
        if "reason" in value:
            hold = Hold(str(value["reason"]), str(value["who"]), float(value["since"]))
        if "name" not in value:
            return _Entry(key, hold, provisional=True)  # reconvirt 0.1: by name
        annotation = value.get("annotation")
        return _Entry(str(value["name"]), hold, annotation, bool(value.get("provisional")))
    except (TypeError, KeyError, ValueError) as error:
        raise Unreadable(
            f"{Document.HOLDS}: the entry {key!r} cannot be read ({error!r}); repair it, or remove "
            "it if that is safe"
        ) from error
