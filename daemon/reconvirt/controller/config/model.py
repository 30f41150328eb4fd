"""The settings themselves."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from reconvirt.controller.config.admission import AdmissionSettings
from reconvirt.controller.config.claims import EtcdSettings
from reconvirt.controller.config.policies import PolicySettings
from reconvirt.controller.config.settings import section, setting
from reconvirt.controller.config.source import SourceSettings
from reconvirt.domain.rules import HostRules

LogFormat: TypeAlias = Literal["auto", "console", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_SECONDS = "a number of seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """Where the metrics are served."""

    enabled: bool = setting(False, about="whether metrics are served")
    address: str = setting(
        "127.0.0.1",
        about="the address to listen on; anything else than loopback lets other hosts read the "
        "names and loads of all virtual servers",
        pattern=r"[0-9a-fA-F:.]+",
        examples=("127.0.0.1", "::1"),
    )
    port: int = setting(9177, about="the TCP port", least=1, most=65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketSettings:
    """The local socket through which the daemon is asked and told."""

    path: Path = setting(Path("/run/reconvirt/reconvirt.sock"), about="where the socket stands")
    read_group: str = setting(
        "reconvirt", about="the group whose members may ask", pattern=r"[a-z_][a-z0-9_-]*[$]?"
    )
    write_group: str = setting(
        "root",
        about="the group whose members may also tell the daemon to do something",
        pattern=r"[a-z_][a-z0-9_-]*[$]?",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings outside any section, and the sections."""

    connect: str = setting("qemu:///system", about="libvirt's URI")
    desired: Path = setting(
        Path("/etc/reconvirt/desired"),
        about="the directory of the manifests; `source` can say where else they are",
    )
    workers: int = setting(
        4, about="how many virtual servers are worked on at a time", least=1, most=256
    )
    resync_seconds: float = setting(
        300.0,
        about="how long until a virtual server is looked at again although nothing was heard of "
        "it, give or take a tenth",
        least=1,
        unit=_SECONDS,
        live=True,
    )
    glance_seconds: float = setting(
        5.0,
        about="how often all are looked at from afar, in one call, for what libvirt sends no "
        "event for (`virsh setvcpus`)",
        least=1,
        unit=_SECONDS,
    )
    debounce_seconds: float = setting(
        0.2,
        about="how long the directory must be quiet before it is read",
        least=0,
        unit=_SECONDS,
    )
    rescan_seconds: float = setting(
        10.0,
        about="how often the directory, or git, is looked at although nothing was heard of it",
        least=1,
        unit=_SECONDS,
    )
    log_format: LogFormat = setting(
        "auto", about="auto: JSON under systemd's journal, else readable", live=True
    )
    log_level: LogLevel = setting(
        "info", about="the least important messages that are written", live=True
    )
    allow_passthrough: bool = setting(
        False,
        about="whether `spec.xml` may hand arguments through to QEMU (`qemu:commandline`), which "
        "can do anything on the host",
    )
    host_name: str | None = setting(
        None,
        about="the name of this host, as its Host manifest has it; the machine's own if not stated",
        pattern=r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?",
        examples=("zhost1",),
    )
    claims: Literal["inventory", "etcd"] = setting(
        "inventory",
        about="how it is made sure that a virtual server runs on one host only; inventory: the "
        "other hosts are asked before it is defined or started; etcd: the host that has it is "
        "kept there",
    )
    source_name: str = setting(
        "desired",
        about="what this source of manifests is called; only virtual servers that came from it "
        "are ever pruned",
        pattern=r"[A-Za-z0-9_.-]+",
        examples=("desired",),
    )
    most_starts: int = setting(
        4, about="how many virtual servers are started at a time", least=1, most=256
    )
    state_directory: Path = setting(Path("/var/lib/reconvirt"), about="where holds are kept")
    dump_directory: Path = setting(
        Path("/var/lib/reconvirt/dumps"),
        about="where the memory of crashed guests is dumped to, if a policy says so",
    )
    most_dumps: int = setting(
        3,
        about="how many dumps of one virtual server are kept; then no more are made",
        least=1,
        most=1000,
    )
    source: SourceSettings = section(SourceSettings, about="where the manifests come from")
    admission: AdmissionSettings = section(
        AdmissionSettings, about="what this host lets manifests ask for"
    )
    policy: PolicySettings = section(
        PolicySettings, about="what holds for manifests that state no `spec.policy`"
    )
    etcd: EtcdSettings = section(EtcdSettings, about="where claims are kept, with claims = etcd")
    metrics: MetricsSettings = section(MetricsSettings, about="where the metrics are served")
    socket: SocketSettings = section(SocketSettings, about="the daemon's local socket")

    @property
    def own_host(self) -> str:
        """The name of this host."""
        return self.host_name or platform.node() or "localhost"

    @property
    def rules(self) -> HostRules:
        """What the host allows in manifests."""
        return HostRules(passthrough=self.allow_passthrough)

    def objections(self) -> Iterator[tuple[str, str]]:
        """What does not fit together."""
        default = type(self).__dataclass_fields__["desired"].default
        if self.desired != default and (self.source.directory or self.source.git):
            yield "source", "the source is stated by desired already; say it in one place"
