"""What libvirt and QEMU say of a migration, and what helps."""

from __future__ import annotations

import pytest

from reconvirt.domain.migration_errors import explain_failure


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            "unable to execute QEMU command 'migrate-set-capabilities': Postcopy is not supported",
            "vm.unprivileged_userfaultfd = 1",
        ),
        (
            "Unsafe migration: Migration without shared storage is unsafe",
            "policy.migration.unsafe: true",
        ),
    ],
)
def test_what_trying_again_does_not_mend(error: str, remedy: str) -> None:
    """libvirt's words stand beside what helps."""
    found = explain_failure(error)

    assert found is not None
    assert remedy in found.remedy
    assert error in found.reason


def test_what_may_pass_is_tried_again() -> None:
    """Nothing is known of it."""
    assert explain_failure("operation failed: Lost connection to destination host") is None
