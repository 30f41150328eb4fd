"""How a virtual server is migrated: the options of chapter 15 and of ``virsh migrate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from reconvirt.domain.values import Schema

CopyMode = Literal["all", "inc"]
OnTimeout = Literal["abort", "suspend", "post-copy"]

_RAMP_STEPS = 5
_RAMP_SECONDS_PER_GIB = 10.0  # about one time through the memory at a gigabit a second
_RAMP_SECONDS_AT_LEAST = 2.0


@dataclass(frozen=True, slots=True)
class MigrationPolicy:
    """How a virtual server is migrated.

    Attributes:
        copy: how the storage of copied disks goes: all of it, or only what differs from a
            backing image that is there.
        tunnelled: whether its memory goes through libvirt's own connection.
        auto_converge: whether its CPUs are throttled while it dirties memory too fast.
        compressed: whether what is sent again is compressed.
        parallel: over how many connections its memory is sent; 1 for libvirt's usual way.
        bandwidth: the most MiB a second; 0 for as much as there is.
        max_downtime: the most milliseconds that its guest may stand still at the end; 0 for QEMU's
            own. It is reached in steps.
        timeout: seconds after which ``on_timeout`` is done; 0 for never.
        completion_timeout: the same in seconds for each GiB of memory.
        on_timeout: what is done then.
        post_copy: whether it may run at the destination before all its memory is there; it is lost
            if the network fails then.
        suspend: whether it arrives paused; the daemon there lets it go on if it is to run.
        abort_on_error: whether an error of its storage ends the migration.
        change_protection: whether its configuration is locked meanwhile.
        unsafe: whether it moves even where libvirt fears for its data.
        keepalive_interval: seconds of silence after which reconvirt asks libvirt's daemons whether
            they are still there; 0 for never.
        keepalive_count: how often it asks before it takes the connection for broken.
    """

    copy: CopyMode = "all"
    tunnelled: bool = False
    auto_converge: bool = False
    compressed: bool = False
    parallel: int = 1
    bandwidth: int = 0
    max_downtime: int = 0
    timeout: int = 0
    completion_timeout: int = 0
    on_timeout: OnTimeout = "abort"
    post_copy: bool = False
    suspend: bool = False
    abort_on_error: bool = True
    change_protection: bool = True
    unsafe: bool = False
    keepalive_interval: int = 5
    keepalive_count: int = 3

    def deadline(self, memory_bytes: int) -> float | None:
        """Seconds after which ``on_timeout`` is done; None for never."""
        limits = [float(self.timeout)] if self.timeout else []
        if self.completion_timeout:
            limits.append(self.completion_timeout * max(1.0, memory_bytes / 2**30))
        return min(limits, default=None)

    def downtime_at(self, elapsed: float, memory_bytes: int) -> int:
        """The milliseconds that its guest may stand still, so long after the beginning.

        A short downtime is tried first: the limit is doubled from one step to the next, and a step
        takes as long as its memory needs to be sent once. It is the stated one in good time before
        ``on_timeout`` is done. 0 where QEMU's own is to stay.

        Args:
            elapsed: seconds since the beginning.
            memory_bytes: the most memory that it has.
        """
        step = max(_RAMP_SECONDS_AT_LEAST, _RAMP_SECONDS_PER_GIB * memory_bytes / 2**30)
        deadline = self.deadline(memory_bytes)
        if deadline is not None:
            step = min(step, deadline / 2 / _RAMP_STEPS)
        left = _RAMP_STEPS - min(_RAMP_STEPS, int(elapsed / step))
        return max(min(1, self.max_downtime), self.max_downtime >> left)


USUAL_MIGRATION = MigrationPolicy()
"""How a virtual server is migrated where nobody says anything."""


def read_migration(stated: Mapping[str, Any], defaults: MigrationPolicy) -> MigrationPolicy:
    """The policy of a manifest, with the host's defaults for what it does not state."""
    known = {each.name for each in fields(MigrationPolicy)}
    return replace(defaults, **{key: value for key, value in stated.items() if key in known})


_WORDS: Mapping[str, tuple[str, str]] = {
    "copy": (
        "Way of copying",
        "all: the whole storage of the copied disks; inc: what differs from their backing image.",
    ),
    "tunnelled": ("Tunnelled", "Whether its memory goes through libvirt's own connection."),
    "auto_converge": (
        "Auto-converge",
        "Whether its CPUs are throttled while it changes memory faster than it can be sent.",
    ),
    "compressed": ("Compressed", "Whether memory that is sent again is compressed."),
    "parallel": ("Parallel connections", "Over how many connections its memory is sent."),
    "bandwidth": ("Bandwidth", "The most MiB a second; 0 is as much as there is."),
    "max_downtime": (
        "Downtime",
        (
            "For how many milliseconds its guest may stand still at the end, at most: less is "
            "tried first. 0 is QEMU's own limit."
        ),
    ),
    "timeout": ("Timeout", "Seconds after which on_timeout is done; 0 is never."),
    "completion_timeout": (
        "Completion timeout",
        "The same in seconds for each GiB of memory; 0 is never.",
    ),
    "on_timeout": (
        "At the timeout",
        (
            "abort: it stays where it is; suspend: it is paused, so that the migration ends; "
            "post-copy: it goes on at the destination at once, where post_copy allows it."
        ),
    ),
    "post_copy": (
        "Post-copy",
        (
            "Whether it may run there before all its memory is: it is lost if the "
            "network fails then."
        ),
    ),
    "suspend": (
        "Suspend",
        "Whether it arrives paused: the daemon there lets it go on, unless its state is paused.",
    ),
    "abort_on_error": (
        "Abort on error",
        "Whether an error of its storage ends the migration.",
    ),
    "change_protection": (
        "Change protection",
        "Whether its configuration is locked until the migration has ended.",
    ),
    "unsafe": (
        "Unsafe",
        (
            "Whether it moves even where libvirt fears for its data: disks in files on what it "
            "does not know as shared, or with a cache."
        ),
    ),
    "keepalive_interval": (
        "Keepalive interval",
        (
            "Seconds of silence after which reconvirt asks libvirt's daemons whether they are "
            "still there, during the migration; 0 is never."
        ),
    ),
    "keepalive_count": (
        "Keepalive count",
        "How often it asks without an answer before it takes the connection for broken.",
    ),
}
MOST = {
    "parallel": 255,
    "bandwidth": 1_000_000,
    "max_downtime": 2_000_000,
    "timeout": 604_800,
    "keepalive_interval": 3600,
    "keepalive_count": 100,
}
"""The greatest number of each; ``completion_timeout`` has that of ``timeout``."""


def migration_properties() -> Schema:
    """The JSON Schema of each option."""
    hints = get_type_hints(MigrationPolicy)
    properties: dict[str, Any] = {}
    for name, (title, description) in _WORDS.items():
        if hints[name] is bool:
            kind: dict[str, Any] = {"type": "boolean"}
        elif hints[name] is int:
            least = 1 if name in ("parallel", "keepalive_count") else 0
            kind = {"type": "integer", "minimum": least, "maximum": MOST.get(name, 604_800)}
        else:
            kind = {"enum": list(get_args(hints[name]))}
        properties[name] = {**kind, "title": title, "description": description}
    return properties
