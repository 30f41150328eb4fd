"""The policies of virtual servers whose manifests state none."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from reconvirt.controller.config.settings import section, setting
from reconvirt.domain.migration_policy import MOST, CopyMode, MigrationPolicy, OnTimeout
from reconvirt.domain.policy import Policy, ShutdownPolicy

_SECONDS = "a number of seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownSettings:
    """How guests are asked to shut down."""

    mode: Literal["default", "acpi", "agent", "signal"] = setting(
        "default", about="how they are asked; default is what their machine knows"
    )
    retry: int = setting(
        20,
        about="after how many seconds they are asked again",
        least=1,
        most=3600,
        unit=_SECONDS,
    )
    timeout: int = setting(
        300,
        about="after how many seconds they count as not answering",
        least=1,
        most=86400,
        unit=_SECONDS,
    )
    force: bool = setting(False, about="whether they are then ended by force")


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationSettings:
    """How virtual servers are migrated; `spec.policy.migration` tells what each means."""

    copy: CopyMode = setting("all", about="how the storage of copied disks goes")
    tunnelled: bool = setting(False, about="whether memory goes through libvirt's connection")
    auto_converge: bool = setting(False, about="whether CPUs are throttled where it helps")
    compressed: bool = setting(False, about="whether memory that is sent again is compressed")
    parallel: int = setting(
        1, about="over how many connections memory is sent", least=1, most=MOST["parallel"]
    )
    bandwidth: int = setting(
        0, about="the most MiB a second; 0 for no limit", least=0, most=MOST["bandwidth"]
    )
    max_downtime: int = setting(
        0,
        about="for how many milliseconds a guest may stand still at the end, at most; 0 for QEMU's "
        "own limit",
        least=0,
        most=MOST["max_downtime"],
    )
    timeout: int = setting(
        0,
        about="after how many seconds `on_timeout` is done; 0 for never",
        least=0,
        most=MOST["timeout"],
    )
    completion_timeout: int = setting(
        0,
        about="the same in seconds for each GiB of memory; 0 for never",
        least=0,
        most=MOST["timeout"],
    )
    on_timeout: OnTimeout = setting("abort", about="what is done then")
    post_copy: bool = setting(False, about="whether guests may go on before all memory is there")
    suspend: bool = setting(False, about="whether they arrive paused")
    abort_on_error: bool = setting(True, about="whether an error of storage ends a migration")
    change_protection: bool = setting(True, about="whether configurations are locked meanwhile")
    unsafe: bool = setting(False, about="whether they move where libvirt fears for their data")
    keepalive_interval: int = setting(
        5,
        about="seconds of silence after which libvirt is asked whether it is there; 0 for never",
        least=0,
        most=MOST["keepalive_interval"],
    )
    keepalive_count: int = setting(
        3,
        about="how often it is asked before a connection counts as broken",
        least=1,
        most=MOST["keepalive_count"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """What may be done where a manifest does not say; `spec.policy` tells what each means."""

    restart: Literal["manual", "automatic", "on-guest-reboot"] = setting(
        "manual", about="when changes that wait for a restart are given one"
    )
    crash: Literal["preserve", "restart", "dump", "dump-and-restart"] = setting(
        "preserve", about="what happens to a crashed guest"
    )
    watchdog: Literal["preserve", "resume", "nmi", "restart"] = setting(
        "preserve", about="what happens to a guest that its watchdog has paused"
    )
    saved: Literal["restore", "discard"] = setting(
        "restore", about="whether a start restores a saved system image or discards it"
    )
    drift: Literal["correct", "report"] = setting(
        "correct", about="whether what was changed by hand is put right, or only told"
    )
    unlisted: Literal["report", "detach"] = setting(
        "report", about="what is done about devices that were attached by hand"
    )
    media: Literal["ask", "force"] = setting(
        "ask", about="whether a medium is changed although the guest has locked the tray"
    )
    on_removal: Literal["keep", "shutdown", "undefine"] = setting(
        "keep", about="what is done when a manifest is gone"
    )
    shutdown: ShutdownSettings = section(
        ShutdownSettings, about="how guests are asked to shut down"
    )

    migration: MigrationSettings = section(
        MigrationSettings, about="how virtual servers are migrated"
    )

    @property
    def policy(self) -> Policy:
        """The same for the domain room."""
        how = self.shutdown
        return Policy(
            restart=self.restart,
            shutdown=ShutdownPolicy(how.mode, how.retry, how.timeout, how.force),
            crash=self.crash,
            watchdog=self.watchdog,
            saved=self.saved,
            drift=self.drift,
            unlisted=self.unlisted,
            media=self.media,
            on_removal=self.on_removal,
            migration=MigrationPolicy(**asdict(self.migration)),
        )
