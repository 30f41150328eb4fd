"""What libvirt and QEMU refuse in a migration for a reason that trying again does not mend."""

from __future__ import annotations

import re

from reconvirt.domain.migration import Finding

# QEMU's words are never translated, and of libvirt's daemons hardly anybody changes the language.
_NO_POST_COPY = Finding(
    "post-copy needs QEMU to handle page faults (userfaultfd), and the kernel of one of the hosts "
    "does not let it",
    "set vm.unprivileged_userfaultfd = 1 on both hosts (sysctl), or state post_copy: false",
)
_UNSAFE = Finding(
    "libvirt fears for its data: it has a disk with a cache, in a file that libvirt does not know "
    "as shared",
    "state driver.cache: none for its disks, or, if both hosts really have the same files, "
    "policy.migration.unsafe: true",
)
_KNOWN = (
    (re.compile("Postcopy is not supported"), _NO_POST_COPY),
    (re.compile("Unsafe migration"), _UNSAFE),
)


def explain_failure(error: str) -> Finding | None:
    """Why libvirt has refused a migration, and what helps; None where nothing is known of it."""
    for pattern, finding in _KNOWN:
        if pattern.search(error):
            return Finding(f"{finding.reason} ({error})", finding.remedy)
    return None
