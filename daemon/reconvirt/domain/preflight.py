"""What stands against a migration, before anything moves (chapter 15), and what helps.

Pure functions over what was read from both hosts. What is not known is told as a finding, never
taken for good.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from reconvirt.domain.backing import backing_chains
from reconvirt.domain.migration import (
    Destination,
    Finding,
    Order,
    block_devices,
    has_it_already,
    image_files,
    memory_in,
    target_of,
)
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.xmltree import parse_xml
from reconvirt.manifest.host import HostManifest

if TYPE_CHECKING:
    from lxml.etree import _Element


def preflight(
    observed: Observed,
    order: Order,
    hosts: tuple[HostManifest | None, HostManifest],
    destination: Destination,
) -> tuple[Finding, ...]:
    """What stands against a migration now.

    Args:
        observed: the virtual server at the source.
        order: how it is to be moved.
        hosts: the manifests of source and destination.
        destination: what the destination says.
    """
    root = parse_xml(observed.live or observed.config)
    findings = [*_names(observed, hosts[1], destination)]
    findings += _system(root, destination, order)
    findings += _state(root, observed, order)
    findings += _options(order)
    findings += _disks(root, order, hosts, destination)
    findings += _copies(root, order)
    findings += _backing(root, order, destination)
    findings += _devices(root, order)
    findings += _networks(root, destination)
    if destination.port_problem:
        remedy = (
            "see migration.uri and migration.port_max of the host, and open the ports of "
            "/etc/libvirt/qemu.conf in its firewall (chapter 15)"
        )
        findings.append(Finding(destination.port_problem, remedy))
    return tuple(findings)


def _names(observed: Observed, host: HostManifest, there: Destination) -> Iterator[Finding]:
    if not host.schedulable:
        yield Finding(f"{host.name} takes no virtual servers", "set spec.schedulable of the host")
    if there.stranger:
        reason = f"{host.name} has another virtual server of this name, with uuid {there.stranger}"
        yield Finding(reason, "rename or undefine one of them")
    if there.there is not None:
        yield has_it_already(host.name, there.there)
    if observed.saved is not None:
        yield Finding("it has a saved system image, which does not move", "start it first")


def _system(root: _Element, there: Destination, order: Order) -> Iterator[Finding]:
    if there.machine_problem:
        remedy = (
            "state os.machine of a release that the destination has, and restart it before it is "
            "moved (chapter 5)"
        )
        yield Finding(there.machine_problem, remedy)
    if there.cpu_problem:
        remedy = "state a CPU model that both hosts have (spec.cpu), and restart it"
        yield Finding(there.cpu_problem, remedy)
    vcpus = int(root.findtext("vcpu", "1"))
    if there.most_vcpus and vcpus > there.most_vcpus:
        reason = f"it has {vcpus} vCPUs, and the destination allows {there.most_vcpus}"
        yield Finding(reason, "make vcpu.maximum smaller")
    memory = memory_in(root)
    if not order.offline and there.free_memory and memory > there.free_memory:
        free = there.free_memory >> 20
        reason = f"it needs {memory >> 20} MiB, and {free} MiB are free at the destination"
        yield Finding(reason, "move others away first, or make its memory smaller")


def _state(root: _Element, observed: Observed, order: Order) -> Iterator[Finding]:
    if observed.snapshots:
        remedy = f"delete them first; they are listed by 'virsh snapshot-list {observed.name}'"
        yield Finding("it has snapshots, which do not move", remedy)
    if order.offline:
        if observed.state is not State.SHUTOFF:
            yield Finding(f"it is {observed.state}", "wait until it is shut off")
        for path, what in (("os/nvram", "firmware variables"), ("devices/tpm", "TPM state")):
            if root.find(path) is not None:
                yield Finding(f"its {what} stay behind when it is shut off", "start it first")
        return
    if observed.state is State.PAUSED and observed.reason not in ("user", "unknown"):
        reason = f"it is paused: {observed.reason}"
        yield Finding(reason, "mend what has paused it, and resume it")
    elif observed.state not in (State.RUNNING, State.BLOCKED, State.PAUSED):
        yield Finding(f"it is {observed.state}", "wait, or see to its guest")
    for name in observed.block_jobs:
        remedy = (
            f"wait until it has ended, or end it: 'virsh blockjob {observed.name} {name} --abort'"
        )
        yield Finding(f"a block job works on {name}", remedy)


def _options(order: Order) -> Iterator[Finding]:
    policy = order.policy
    if order.offline:
        return
    if policy.on_timeout == "post-copy" and not policy.post_copy:
        yield Finding("on_timeout: post-copy needs post_copy", "state both, or another on_timeout")
    if not policy.tunnelled:
        return
    clashes = {
        "post-copy": policy.post_copy,
        "parallel connections": policy.parallel > 1,
        "copying storage": bool(order.copied),
    }
    for what, stated in clashes.items():
        if stated:
            yield Finding(f"{what} and a tunnelled migration exclude each other", "state one")


def _disks(
    root: _Element,
    order: Order,
    hosts: tuple[HostManifest | None, HostManifest],
    destination: Destination,
) -> Iterator[Finding]:
    here, there = hosts
    shared = [each for each in there.shared if here is not None and each in here.shared]
    for name, path in image_files(root):
        # A path that climbs out of the directory again is not inside.
        plain = PurePosixPath(posixpath.normpath(path))
        inside = any(plain.is_relative_to(posixpath.normpath(each)) for each in shared)
        if name not in order.copied and not inside:
            reason = f"the image of {name}, {path}, is not known to be on both hosts"
            remedy = (
                "name its directory in storage.shared of both hosts, if they share it, or copy it: "
                f"policy.migration.copied: [{name}]"
            )
            if order.offline:
                remedy = "name its directory in storage.shared of both hosts, if they share it"
            yield Finding(reason, remedy)
    for name, path in block_devices(root):
        if problem := destination.devices.get(path):
            reason = f"{path}, the block device of {name}, {problem} at the destination"
            remedy = (
                "make it known there under the same name: device mapper's or udev's (chapter 15)"
            )
            yield Finding(reason, remedy)
    for disk in root.iterfind("devices/disk"):
        if disk.find("transient") is not None:
            yield Finding(f"{target_of(disk)} is transient", "detach it first")


def _copies(root: _Element, order: Order) -> Iterator[Finding]:
    for disk in root.iterfind("devices/disk"):
        name, driver = target_of(disk), disk.find("driver")
        if name not in order.copied:
            continue
        if disk.get("device", "disk") != "disk" or disk.find("readonly") is not None:
            reason = f"{name} cannot be copied: it is read-only"
            yield Finding(reason, "take it out of policy.migration.copied")
        if driver is not None and driver.get("iothread"):
            reason = f"{name} cannot be copied: it has an I/O thread"
            yield Finding(reason, "take driver.iothread out, and restart it (chapter 15)")
        if disk.get("type") != "file":
            yield Finding(f"{name} cannot be copied: it is no image file", "share it instead")


def _backing(root: _Element, order: Order, there: Destination) -> Iterator[Finding]:
    """What stands against copying only what differs from the images below."""
    if order.policy.copy != "inc":
        return
    copy_all = "state policy.migration.copy: all"
    for name, chain in backing_chains(root, order.copied).items():
        if not chain:
            yield Finding(f"{name} has no backing image: only all of it can be copied", copy_all)
        for each in chain:
            if not each.path:
                yield Finding(f"a backing image of {name} is no file of its host", copy_all)
            elif each.path not in there.images:
                reason = f"the backing image of {name}, {each.path}, is not at the destination"
                yield Finding(reason, f"copy it there before, or {copy_all}")
            elif there.images[each.path] != (own := there.own_images.get(each.path)):
                reason = (
                    f"the backing image of {name}, {each.path}, is another one at the destination: "
                    f"{there.images[each.path]} bytes, and {own or 'unknown'} here"
                )
                yield Finding(reason, f"see which one it needs, or {copy_all}")


_STAY = {
    "hostdev": (
        "it has a host device",
        "make it a hotplug device (persistent: false): it is detached before (chapter 15)",
    ),
    "shmem": ("it has shared memory with others on its host", "detach it first"),
    "filesystem": ("it has a directory of its host", "take it out of its manifest"),
}


def _devices(root: _Element, order: Order) -> Iterator[Finding]:
    for tag, (reason, remedy) in _STAY.items():
        if root.find(f"devices/{tag}") is not None and not order.offline:
            yield Finding(reason, remedy)
    kind = root.find("os/type")
    if kind is not None and kind.get("arch") == "s390x" and not order.offline:
        # QEMU adds a zpci device to each, which it cannot migrate.
        for each in root.iterfind("devices/*/address[@type='pci']/.."):
            remedy = "give it an address of the type ccw, or none, and restart it"
            yield Finding(f"the {each.tag} {_word_for(each)} is on PCI", remedy)


def _word_for(device: _Element) -> str:
    for path, name in (("target", "dev"), ("mac", "address"), ("alias", "name")):
        found = device.find(path)
        if found is not None and found.get(name):
            return found.get(name, "")
    return ""


def _networks(root: _Element, there: Destination) -> Iterator[Finding]:
    remedy = "give the interface the same name on both hosts (chapter 15)"
    for interface in root.iterfind("devices/interface"):
        source = interface.find("source")
        if source is None:
            continue
        kind = interface.get("type")
        name = source.get("dev" if kind == "direct" else "bridge", "")
        if kind in ("bridge", "direct") and name not in there.interfaces:
            yield Finding(f"the destination has no interface {name}", remedy)
        network = source.get("network", "")
        if kind == "network" and network not in there.networks:
            yield Finding(f"the destination has no active network {network}", remedy)
        if kind == "hostdev":
            yield Finding("it has an interface of its host", "detach it first")
