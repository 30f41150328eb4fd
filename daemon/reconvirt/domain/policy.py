"""What may be done with a virtual server, where several things are reasonable.

Each manifest may state it, the host's configuration may state other defaults, and what nobody
states is the choice that does least.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from reconvirt.domain.migration_policy import (
    USUAL_MIGRATION,
    MigrationPolicy,
    migration_properties,
    read_migration,
)
from reconvirt.domain.values import Schema


@dataclass(frozen=True, slots=True)
class ShutdownPolicy:
    """How a guest is asked to shut down.

    Attributes:
        mode: how it is asked: ``default`` is what its machine knows (signal quiesce on s390x, ACPI
            on x86).
        retry: seconds after which it is asked again.
        timeout: seconds after which it counts as not answering.
        force: whether its process is then ended all the same, as by pulling the plug.
    """

    mode: Literal["default", "acpi", "agent", "signal"] = "default"
    retry: int = 20
    timeout: int = 300
    force: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be done.

    Attributes:
        restart: when changes that wait for a restart are given one: ``manual`` never,
            ``automatic`` as soon as they wait, ``on-guest-reboot`` when the guest itself reboots.
        shutdown: how a guest is asked to shut down.
        crash: what happens to a crashed guest: it is kept as it is, restarted, or its memory is
            dumped before.
        watchdog: what happens when the guest's watchdog has paused it: nothing, it goes on, it
            gets a restart interrupt (NMI) and goes on, or it is restarted.
        saved: whether a start restores the saved system image or discards it.
        drift: whether what somebody has changed by hand is put right, or only reported until the
            manifest changes.
        unlisted: what is done about devices that were attached by hand.
        media: whether a medium is changed although the guest has locked the tray.
        on_removal: what is done when the manifest is gone.
        copied: the disks whose storage is to be copied in a migration, by target.dev.
        migration: how it is migrated.
    """

    restart: Literal["manual", "automatic", "on-guest-reboot"] = "manual"
    shutdown: ShutdownPolicy = ShutdownPolicy()
    crash: Literal["preserve", "restart", "dump", "dump-and-restart"] = "preserve"
    watchdog: Literal["preserve", "resume", "nmi", "restart"] = "preserve"
    saved: Literal["restore", "discard"] = "restore"
    drift: Literal["correct", "report"] = "correct"
    unlisted: Literal["report", "detach"] = "report"
    media: Literal["ask", "force"] = "ask"
    on_removal: Literal["keep", "shutdown", "undefine"] = "keep"
    copied: frozenset[str] = frozenset()
    migration: MigrationPolicy = USUAL_MIGRATION


NO_POLICY = Policy()
"""What may be done where neither the manifest nor the host's configuration says anything."""


def read_policy(stated: Mapping[str, Any], defaults: Policy) -> Policy:
    """The policy of a manifest, with the host's defaults for what it does not state."""
    plain = {key: value for key, value in stated.items() if key not in ("shutdown", "migration")}
    shutdown = replace(defaults.shutdown, **stated.get("shutdown", {}))
    copied = stated.get("migration", {}).get("copied")
    migration = read_migration(stated.get("migration", {}), defaults.migration)
    policy = replace(defaults, **plain, shutdown=shutdown, migration=migration)
    return policy if copied is None else replace(policy, copied=frozenset(copied))


_WORDS: Mapping[str, tuple[str, str]] = {
    "restart": (
        "Restart",
        (
            "When changes that wait for a restart are given one: manual never; automatic as "
            "soon as they wait: the guest is asked to shut down and started again; on-guest-"
            "reboot when the guest reboots by itself."
        ),
    ),
    "crash": (
        "After a crash",
        (
            "preserve: the crashed guest stays as it is; restart: it is started anew; dump: its"
            " memory is dumped to an ELF file (chapter 21) and it stays; dump-and-restart: "
            "both."
        ),
    ),
    "watchdog": (
        "After the watchdog",
        (
            "What happens when the watchdog has paused the guest (action pause): preserve "
            "nothing; resume: it goes on; nmi: it gets a restart interrupt and goes on, and may"
            " dump itself; restart: it is started anew."
        ),
    ),
    "saved": (
        "Saved system images",
        "restore: a start goes on from the saved image; discard: it boots afresh.",
    ),
    "drift": (
        "Drift",
        (
            "correct: what somebody has changed by hand is put right; report: it is only told, "
            "until the manifest changes."
        ),
    ),
    "unlisted": (
        "Devices attached by hand",
        (
            "What is done about disks, interfaces and host devices that the manifest does not "
            "list: report them as drift, or detach them."
        ),
    ),
    "media": (
        "Locked media",
        (
            "ask: a medium that the guest has locked stays; force: it is changed all the same, "
            "as if the drive had an emergency eject."
        ),
    ),
    "on_removal": (
        "After the manifest",
        (
            "What is done when the manifest is gone: keep the virtual server as it is; "
            "shutdown: ask its guest to shut down; undefine: remove it from libvirt afterwards."
            " Its storage, firmware variables and TPM state always stay."
        ),
    ),
}

_SHUTDOWN: Schema = {
    "type": "object",
    "title": "Shutdown",
    "description": "How the guest is asked to shut down.",
    "additionalProperties": False,
    "properties": {
        "mode": {
            "enum": ["default", "acpi", "agent", "signal"],
            "title": "Way",
            "description": "How it is asked; default is what its machine knows.",
        },
        "retry": {
            "type": "integer",
            "minimum": 1,
            "maximum": 3600,
            "title": "Retry",
            "description": "Seconds after which it is asked again.",
        },
        "timeout": {
            "type": "integer",
            "minimum": 1,
            "maximum": 86400,
            "title": "Timeout",
            "description": "Seconds after which it counts as not answering.",
        },
        "force": {
            "type": "boolean",
            "title": "Force",
            "description": "Whether it is then ended all the same, as by pulling the plug.",
        },
    },
}

_MIGRATION: Schema = {
    "type": "object",
    "title": "Migration",
    "description": "How it is migrated.",
    "additionalProperties": False,
    "properties": {
        "copied": {
            "type": "array",
            "title": "Copied disks",
            "description": "The disks, by target.dev, whose storage is to be copied in a live "
            "migration. reconvirt warns of what would make that impossible.",
            "items": {"type": "string", "minLength": 1},
            "uniqueItems": True,
        },
        **migration_properties(),
    },
}


def policy_schema() -> Schema:
    """The JSON Schema of ``spec.policy``."""
    hints = get_type_hints(Policy)
    properties: Schema = {}
    for each in fields(Policy):
        if each.name in _WORDS:
            title, description = _WORDS[each.name]
            choices = list(get_args(hints[each.name]))
            properties[each.name] = {"enum": choices, "title": title, "description": description}
    return {
        "type": "object",
        "title": "Policy",
        "description": "What may be done, where several things are reasonable. What is not stated "
        "is as the host's configuration says.",
        "additionalProperties": False,
        "properties": {**properties, "shutdown": _SHUTDOWN, "migration": _MIGRATION},
    }
