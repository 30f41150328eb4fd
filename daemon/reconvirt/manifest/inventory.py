"""The hosts of all manifests together, and the virtual servers that mean them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from reconvirt.manifest.host import HostManifest
from reconvirt.manifest.model import FileResult, Manifest, Snapshot
from reconvirt.manifest.problem import Position, Problem


@dataclass(frozen=True, slots=True)
class Inventory:
    """The hosts in force, by name, and what is wrong with others."""

    hosts: Mapping[str, HostManifest]
    problems: tuple[Problem, ...]


def assemble_hosts(
    results: Iterable[FileResult], broken: Iterable[str], previous: Snapshot | None
) -> Inventory:
    """The hosts in force.

    Two of one name, or of one URI, hold each other up: neither is taken, and what was in force
    before stays so, as it does where a file has a problem now.

    Args:
        results: what the files say.
        broken: the files with problems.
        previous: the snapshot before.
    """
    everything = [host for result in results for host in result.hosts]
    problems: dict[Position, Problem] = {}
    for field, text in (("metadata.name", "name"), ("spec.uri", "uri")):
        for host in everything:
            value = getattr(host, text)
            others = [each for each in everything if getattr(each, text) == value]
            if len(others) > 1:
                places = ", ".join(str(each.position) for each in others if each is not host)
                message = f"{value!r} stands also at {places}: none of them is in force"
                problems[host.position] = Problem(host.position, field, message, "each only once")
    hosts = {each.name: each for each in everything if each.position not in problems}
    held = {each.name for each in everything if each.position in problems}
    unsure = set(broken)
    for name, host in (previous.hosts if previous else {}).items():
        if name not in hosts and (name in held or host.position.file in unsure):
            hosts[name] = host
    return Inventory(dict(sorted(hosts.items())), tuple(problems.values()))


def still_meant(
    retained: Iterable[Manifest], hosts: Mapping[str, HostManifest], previous: Snapshot | None
) -> Mapping[str, HostManifest]:
    """The hosts that no manifest describes any more, and that manifests mean which stay in force.

    Without them these would be taken for this host's, and started here beside the other copy. One
    whose URI is another host's by now is not taken: that one would be asked under two names.

    Args:
        retained: the manifests that stay in force as they were.
        hosts: the hosts that manifests describe.
        previous: the snapshot before.
    """
    uris = {each.uri for each in hosts.values()}
    meant = {name for each in retained for _, name in _stated_hosts(each)}
    return {
        name: host
        for name, host in (previous.hosts if previous else {}).items()
        if name in meant and name not in hosts and host.uri not in uris
    }


def unknown_hosts(
    manifests: Iterable[Manifest], hosts: Mapping[str, HostManifest]
) -> dict[Position, Problem]:
    """The virtual servers that mean hosts which no manifest describes, and the problem at each."""
    problems: dict[Position, Problem] = {}
    for manifest in manifests:
        for field, name in _stated_hosts(manifest):
            if name not in hosts:
                place = manifest.positions.get(field, manifest.position)
                known = ", ".join(hosts) or "no manifest of the kind Host is there"
                message = f"there is no host {name!r}"
                problems[manifest.position] = Problem(place, field, message, known)
                break
    return problems


def _stated_hosts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """The hosts that a manifest means, each with its field."""
    if (host := manifest.spec.get("host")) is not None:
        yield "spec.host", host
    for number, name in enumerate(manifest.spec.get("hosts", ())):
        yield f"spec.hosts[{number}]", name
