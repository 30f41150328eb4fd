"""The policies of virtual servers whose manifests state none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconvirt.controller.config.settings import section, setting
from reconvirt.domain.policy import Policy, ShutdownPolicy

_SECONDS = "a number of seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownSettings:
    """How guests are asked to shut down."""

    mode: Literal["default", "acpi", "agent", "signal"] = setting(
        "default", about="how they are asked; default is what their machine knows"
    )
    retry: int = setting(20, about="when they are asked again", least=1, most=3600, unit=_SECONDS)
    timeout: int = setting(
        300, about="when they count as not answering", least=1, most=86400, unit=_SECONDS
    )
    force: bool = setting(False, about="whether they are then ended by force")


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
        )
