"""libvirt's numbers for the states of a virtual server and their reasons (chapter 23)."""

from __future__ import annotations

import libvirt

from reconvirt.domain.observed import State

# The reasons are numbered from 0 in each state; these are virsh's words for them
# (``virsh domstate --reason``).
_WORDS: dict[int, tuple[State, str]] = {
    libvirt.VIR_DOMAIN_NOSTATE: (State.UNKNOWN, "unknown"),
    libvirt.VIR_DOMAIN_RUNNING: (
        State.RUNNING,
        (
            "unknown|booted|migrated|restored|from snapshot|unpaused|migration canceled|"
            "save canceled|event wakeup|crashed|post-copy|post-copy failed"
        ),
    ),
    libvirt.VIR_DOMAIN_BLOCKED: (State.BLOCKED, "unknown"),
    libvirt.VIR_DOMAIN_PAUSED: (
        State.PAUSED,
        (
            "unknown|user|migrating|saving|dumping|I/O error|watchdog|from snapshot|"
            "shutting down|creating snapshot|crashed|starting up|post-copy|post-copy failed|"
            "api error"
        ),
    ),
    libvirt.VIR_DOMAIN_SHUTDOWN: (State.SHUTDOWN, "unknown|user"),
    libvirt.VIR_DOMAIN_SHUTOFF: (
        State.SHUTOFF,
        "unknown|shutdown|destroyed|crashed|migrated|saved|failed|from snapshot|daemon",
    ),
    libvirt.VIR_DOMAIN_CRASHED: (State.CRASHED, "unknown|panicked"),
    libvirt.VIR_DOMAIN_PMSUSPENDED: (State.SUSPENDED, "unknown"),
}


def name_state(state: int, reason: int) -> tuple[State, str]:
    """State and reason in words; those of a newer libvirt are unknown."""
    word, reasons = _WORDS.get(state, (State.UNKNOWN, "unknown"))
    known = reasons.split("|")
    return word, known[reason] if 0 <= reason < len(known) else "unknown"
