"""What a machine may lack by its nature, so that tests are skipped: the only reasons there are.

What can be installed or built is no such reason: where it is missing, tests fail.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import NoReturn

import pytest


class Lack(StrEnum):
    """Why a test is skipped."""

    ROOT = "pytest does not run as root"
    KVM = "QEMU cannot use KVM on this machine"
    KVM_TRACES = "the kernel of this machine does not trace KVM"
    IPV6 = "this machine has no IPv6"
    CPU_GROUPS = "libvirt cannot set CPU shares: no control group of the CPU controller is writable"
    MEMORY_GROUPS = "libvirt cannot set memory limits: no control group of that controller"
    SWITCH = "this machine runs an Open vSwitch in user space, which leaves no room for another"
    PAGE_FAULTS = "every process of this machine may handle page faults"
    OPT_IN = "takes minutes to build: RECONVIRT_NEWER_MACHINE=1 asks for it"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason=Lack.ROOT)


def skip(lack: Lack) -> NoReturn:
    """Skip the test that runs, for this reason."""
    pytest.skip(lack)


def require_root() -> None:
    """Skip the test that runs if pytest does not run as root."""
    if os.geteuid() != 0:
        skip(Lack.ROOT)


def counted(reasons: Iterable[str]) -> list[str]:
    """How many tests were skipped for each reason, the most frequent first."""
    found = Counter(reasons)
    return [f"{number:4} {reason}" for reason, number in found.most_common()]


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test or a file was skipped."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)


def refuse_others(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a failure of a skip for any other reason."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = reason_of(report)
    if reason not in {str(each) for each in Lack}:
        report.outcome = "failed"
        report.longrepr = (
            f"skipped, but not for what this machine lacks by its nature: {reason}\n"
            "What can be installed or built has to be: see tests/testbed/lacks.py."
        )
