"""From files to a snapshot: every good document is taken, every bad one told.

Bad input changes nothing: what a bad file or document stated before stays in force.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

from reconvirt.manifest.checks import check_values
from reconvirt.manifest.document import Document, DocumentError, read_documents
from reconvirt.manifest.host import HostManifest, read_host
from reconvirt.manifest.identity import normalise_uuid
from reconvirt.manifest.inventory import assemble_hosts, still_meant, unknown_hosts
from reconvirt.manifest.model import FileResult, Manifest, Snapshot, SourceFile
from reconvirt.manifest.problem import Position, Problem
from reconvirt.manifest.storage_clashes import storage_clashes
from reconvirt.manifest.validate import check_schema, field_name, is_host

_EMPTY = "the file has no document: it is empty, or has only comments"


def failed(path: str, why: str, allowed: str = "") -> FileResult:
    """What a file says that cannot be used as a whole."""
    return FileResult(path, (), (Problem(Position(path, 1, 1), "", why, allowed),))


def load_file(file: SourceFile) -> FileResult:
    """What a file says; never raises."""
    if file.closed:
        return FileResult(file.path, (), (), closed=file.problem)
    if file.content is None:
        return failed(file.path, file.problem)
    try:
        return _load(file.path, file.content)
    except DocumentError as error:
        return FileResult(file.path, (), (error.problem,))
    except Exception as error:  # noqa: BLE001 - one file must not keep all others from being read
        return failed(file.path, f"unexpected error, please report it: {error!r}")


def _load(path: str, content: bytes) -> FileResult:
    """What a file says.

    Raises:
        DocumentError: it is no YAML.
    """
    documents = read_documents(path, content)
    if not documents:
        return failed(path, _EMPTY, "a manifest; remove the file to remove its manifests")
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    hosts: list[HostManifest] = []
    for document in documents:
        if is_host(document):
            wrong = list(check_schema(document))
            if not wrong:
                hosts.append(read_host(document.value, document.position(())))
        else:
            wrong = list(check_schema(document)) or list(check_values(document))
            if not wrong:
                manifests.append(_manifest(document))
        problems.extend(wrong)
    return FileResult(path, tuple(manifests), tuple(problems), tuple(hosts))


def _manifest(document: Document) -> Manifest:
    value: dict[str, Any] = document.value
    metadata = value["metadata"]
    text = json.dumps([metadata, value["spec"]], sort_keys=True, separators=(",", ":"))
    return Manifest(
        metadata["name"],
        normalise_uuid(metadata["uuid"]) if "uuid" in metadata else None,
        metadata.get("labels", {}),
        value["spec"],
        document.position(()),
        hashlib.sha256(text.encode()).hexdigest(),
        {field_name(path): position for path, position in document.values.items()},
        metadata.get("annotations", {}),
    )


class Loader:
    """Loads files, and remembers what those said that have not changed since."""

    def __init__(self) -> None:
        self._results: dict[tuple[str, bytes], FileResult] = {}

    def load(self, files: Iterable[SourceFile]) -> tuple[FileResult, ...]:
        """What the files say."""
        known, self._results = self._results, {}
        results: list[FileResult] = []
        for file in files:
            if file.content is None:
                results.append(load_file(file))
                continue
            key = (file.path, hashlib.sha256(file.content).digest())
            result = self._results[key] = known.get(key) or load_file(file)
            results.append(result)
        return tuple(results)


def revision_of(files: Iterable[SourceFile]) -> str:
    """SHA-256 over the names and contents of all files, whatever their order."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda each: each.path):
        content = file.content if file.content is not None else file.problem.encode()
        for part in (file.path.encode("utf-8", "surrogateescape"), content):
            digest.update(len(part).to_bytes(8))
            digest.update(part)
    return digest.hexdigest()


def assemble(
    results: Iterable[FileResult],
    revision: str,
    previous: Snapshot | None = None,
    time: float | None = None,
) -> Snapshot:
    """The manifests in force.

    Two of one name, of one uuid, or that write to one disk hold each other up: neither is in
    force, and each is told where the other stands. What was in force before stays so where its
    file, or a directory above it, has a problem now, or its name is held up.

    Args:
        results: what the files say.
        revision: of the files.
        previous: the snapshot before this one.
        time: of the revision, in seconds since the epoch.
    """
    results, unseen = _close(results, previous)
    problems = [problem for result in results for problem in result.problems]
    broken = _broken(results, previous)
    everything = [manifest for result in results for manifest in result.manifests]
    clashes = _clashes(everything, "metadata.uuid", lambda each: each.effective_uuid)
    # Those of one name have one derived uuid, too: the name is what is to be told of them.
    clashes |= _clashes(everything, "metadata.name", lambda each: each.name)
    hosts = assemble_hosts(results, broken, previous)
    problems.extend(hosts.problems)
    clashes |= unknown_hosts(everything, hosts.hosts)
    clashes = storage_clashes(everything, hosts.hosts) | clashes
    before = previous.manifests if previous else {}
    while True:
        manifests = {each.name: each for each in everything if each.position not in clashes}
        held = {each.name for each in everything if each.position in clashes}
        retained = {
            name: manifest
            for name, manifest in before.items()
            if name not in manifests and (name in held or manifest.position.file in broken)
        }
        more = _clashes_with(retained.values(), manifests.values())
        if not more:
            break
        # What stays in force keeps its uuid: the newcomer has to wait.
        clashes |= more
    problems.extend(clashes.values())
    manifests |= retained
    return Snapshot(
        dict(sorted(manifests.items())),
        tuple(sorted(problems, key=lambda each: (each.position, each.field))),
        revision,
        frozenset(retained),
        {**hosts.hosts, **still_meant(retained.values(), hosts.hosts, previous)},
        time,
        unseen,
    )


def _close(
    results: Iterable[FileResult], previous: Snapshot | None
) -> tuple[tuple[FileResult, ...], tuple[str, ...]]:
    """The results, in which a closed place is a problem if manifests were below it before.

    Returns:
        The results, and the other closed places, each with the reason.
    """
    kept: list[FileResult] = []
    unseen: list[str] = []
    known = _files_of(previous)
    for result in results:
        if not result.closed:
            kept.append(result)
        elif any(_is_below(file, result.path) for file in known):
            why = f"{result.closed}; the manifests that were in it stay in force"
            kept.append(failed(result.path, why))
        else:
            unseen.append(f"{result.path}: {result.closed}")
    return tuple(kept), tuple(unseen)


def _broken(results: Iterable[FileResult], previous: Snapshot | None) -> frozenset[str]:
    """The files with problems, and those that were read before below a directory with one."""
    places = {result.path for result in results if result.problems}
    known = _files_of(previous)
    return frozenset(places | {file for file in known if any(_is_below(file, p) for p in places)})


def _files_of(snapshot: Snapshot | None) -> frozenset[str]:
    if snapshot is None:
        return frozenset()
    manifests = {each.position.file for each in snapshot.manifests.values()}
    return frozenset(manifests | {each.position.file for each in snapshot.hosts.values()})


def _is_below(file: str, place: str) -> bool:
    return file == place or file.startswith(f"{place}/")


def _clashes_with(
    retained: Iterable[Manifest], manifests: Iterable[Manifest]
) -> dict[Position, Problem]:
    """The manifests that state the uuid of one that stays in force, and the problem at each."""
    taken = {each.effective_uuid: each for each in retained}
    clashes: dict[Position, Problem] = {}
    for manifest in manifests:
        if (other := taken.get(manifest.effective_uuid)) is not None:
            message = (
                f"{_uuid_words(manifest)} is also that of {other.name}, whose last good version "
                f"({other.position}) stays in force"
            )
            where = manifest.position
            clashes[where] = Problem(where, "metadata.uuid", message, "each only once")
    return clashes


def _uuid_words(manifest: Manifest) -> str:
    derived = "" if manifest.uuid else " (derived from the name)"
    return f"{manifest.effective_uuid!r}{derived}"


def _clashes(
    manifests: list[Manifest], field: str, value_of: Callable[[Manifest], str]
) -> dict[Position, Problem]:
    """The manifests that state what another one states, and the problem at each."""
    places: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        places.setdefault(value_of(manifest), []).append(manifest)
    clashes: dict[Position, Problem] = {}
    for value, same in places.items():
        for manifest in same if len(same) > 1 else ():
            others = ", ".join(str(each.position) for each in same if each is not manifest)
            words = _uuid_words(manifest) if field == "metadata.uuid" else repr(value)
            message = f"{words} stands also at {others}: none of them is in force"
            clashes[manifest.position] = Problem(
                manifest.position, field, message, "each only once"
            )
    return clashes
