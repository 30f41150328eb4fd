"""The settings themselves."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from reconvirt.controller.config.admission import AdmissionSettings, is_local
from reconvirt.controller.config.claims import EtcdSettings
from reconvirt.controller.config.metrics import MetricsSection
from reconvirt.controller.config.policies import PolicySettings
from reconvirt.controller.config.settings import section, setting
from reconvirt.controller.config.source import SourceSettings
from reconvirt.domain.desired import Origin
from reconvirt.domain.rules import HostRules

LogFormat: TypeAlias = Literal["auto", "console", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_SECONDS = "a number of seconds"
_GROUP = r"[a-z_][a-z0-9_-]*[$]?"


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketSettings:
    """The local socket through which the daemon is asked and told."""

    path: Path = setting(Path("/run/reconvirt/reconvirt.sock"), about="where the socket stands")
    read_group: str | None = setting(
        None,
        about="the group whose members may ask; if none is stated, only root and the daemon's own "
        "user may",
        pattern=_GROUP,
    )
    write_group: str | None = setting(
        None,
        about="the group whose members may also have something done; if none is stated, likewise",
        pattern=_GROUP,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSettings:
    """Where the status page is served."""

    address: str = setting(
        "127.0.0.1",
        about="the address of the loopback interface that it is served at",
        pattern=r"[0-9a-fA-F:.]+",
        examples=("127.0.0.1", "::1"),
    )
    port: int = setting(8643, about="its port; 0 for no page", least=0, most=65535)


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
    stuck_seconds: float = setting(
        180.0,
        about="how long all workers, or one of the other threads, may give no sign of life "
        "before systemd's watchdog is no longer fed, which restarts the daemon",
        least=5,
        unit=_SECONDS,
    )
    state_directory: Path = setting(
        Path("/var/lib/reconvirt"), about="where the daemon keeps what it must know after a restart"
    )
    lock_directory: Path = setting(
        Path("/run/reconvirt"),
        about="where the lock of each libvirt is, which one daemon or one `apply` has at a time; "
        "it must be the same for all on this host. Who may not write there uses "
        "`$XDG_RUNTIME_DIR`, or else `state_directory`",
    )
    log_format: LogFormat = setting(
        "auto", about="auto: entries with fields under systemd's journal, else readable", live=True
    )
    log_level: LogLevel = setting(
        "info", about="the least important messages that are written", live=True
    )
    allow_passthrough: bool = setting(
        False,
        about="whether `spec.xml` may hand arguments through to QEMU (`qemu:commandline`), which "
        "can do anything on the host",
        live=True,
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
    former_source_names: tuple[str, ...] = setting(
        (),
        about="what this source was called before; virtual servers that came from these names are "
        "its own",
        pattern=r"[A-Za-z0-9_.-]+",
        examples=("staging",),
    )
    prune_grace_seconds: float = setting(
        60.0,
        about="for how long a manifest must be gone before its virtual server is shut down or "
        "undefined, if `on_removal` says so",
        least=0,
        unit=_SECONDS,
        live=True,
    )
    most_starts: int = setting(
        4, about="how many virtual servers are started at a time", least=1, most=256
    )
    most_writes: int = setting(
        60,
        about="how many writing calls a virtual server may need within `write_window_seconds` "
        "without a change of its manifest, besides those of its longest plan; then it is stalled, "
        "as when something else changes back what reconvirt changes",
        least=1,
    )
    write_window_seconds: float = setting(
        600.0, about="the time over which `most_writes` counts", least=1, unit=_SECONDS
    )
    dump_directory: Path = setting(
        Path("/var/lib/reconvirt/dumps"),
        about="where the memory of crashed guests is dumped to, if a policy says so; a directory "
        "that is there, and that the daemon may write to",
    )
    most_dumps: int = setting(
        3,
        about="how many dumps of one virtual server are kept; then no more are made",
        least=1,
        most=1000,
    )
    source: SourceSettings = section(SourceSettings, about="where the manifests come from")
    admission: AdmissionSettings = section(
        AdmissionSettings, about="what this host lets manifests ask for", live=True
    )
    policy: PolicySettings = section(
        PolicySettings, about="what holds for manifests that state no `spec.policy`"
    )
    etcd: EtcdSettings = section(EtcdSettings, about="where claims are kept, with claims = etcd")
    metrics: MetricsSection = section(MetricsSection, about="how metrics are collected and served")
    socket: SocketSettings = section(SocketSettings, about="the daemon's local socket")
    page: PageSettings = section(PageSettings, about="where the status page is served")

    @property
    def origin(self) -> Origin:
        """The source of manifests, of no particular revision."""
        return Origin(self.source_name, self.former_source_names)

    @property
    def own_host(self) -> str:
        """The name of this host."""
        return self.host_name or platform.node() or "localhost"

    def shares_source(self, hosts: Sized, *, known: bool) -> bool:
        """Whether other hosts read the same manifests, for all that is known.

        Args:
            hosts: the hosts that manifests describe.
            known: whether another host was ever known.
        """
        if self.source.shared is not None:
            return self.source.shared
        # Who gives this host a name, or keeps claims, has others.
        several = self.host_name is not None or self.claims == "etcd"
        return self.source.git is not None or several or bool(hosts) or known

    @property
    def rules(self) -> HostRules:
        """What the host allows in manifests.

        Where libvirt is on another host its files cannot be seen, and links are not resolved.
        """
        local = is_local(self.connect)
        admission = self.admission.admission(self.dump_directory, local=local)
        return HostRules(passthrough=self.allow_passthrough, admission=admission)

    def objections(self) -> Iterator[tuple[str, str]]:
        """What does not fit together."""
        default = type(self).__dataclass_fields__["desired"].default
        if self.desired != default and (self.source.directory or self.source.git):
            yield "source", "the source is stated by desired already; say it in one place"
