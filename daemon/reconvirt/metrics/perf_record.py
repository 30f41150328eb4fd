"""Recording KVM exits with ``perf kvm stat`` for a short while, and reporting them by process."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reconvirt.metrics.perf_report import Report, ReportError, Trouble, find_trouble, parse_report
from reconvirt.metrics.settings import PerfSettings

_END_SECONDS = 10.0
_REPORT_SECONDS = 60.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Window:
    """What one recording came to.

    Attributes:
        seconds: how long it was.
        reports: by virtual server.
        cpu_seconds: what perf itself has used. What the kernel needs for each event is used in
            the guest's own time and cannot be told from it.
        bytes: the size of the recording.
        lost: how many pieces of it were lost.
    """

    seconds: float
    reports: Mapping[str, Report]
    cpu_seconds: float
    bytes: int
    lost: int


@dataclass(frozen=True, slots=True)
class _Ended:
    """A program that has ended."""

    status: int
    output: str
    complaints: str
    cpu_seconds: float


def record_window(
    settings: PerfSettings,
    processes: Mapping[str, int],
    stopping: Callable[[], bool] = lambda: False,
) -> Window:
    """Record what all CPUs do for a while, and report it for each process.

    The recording is in a directory that only its owner enters, and is gone afterwards, whatever
    happens. It ends when its time is over or when it has become too large.

    Args:
        settings: how.
        processes: the virtual servers' QEMUs, by name.
        stopping: whether the recording is to be ended now.

    Raises:
        ReportError: perf did not do it; the text says why.
    """
    with tempfile.TemporaryDirectory(
        prefix="reconvirt-perf-", dir=settings.directory or None, ignore_cleanup_errors=True
    ) as private:
        data = Path(private, "perf.data")
        began = time.monotonic()
        recorded = _record(settings, data, private, stopping)
        seconds = min(time.monotonic() - began, settings.window_seconds)
        if not data.exists() or not data.stat().st_size:
            said = " ".join(recorded.complaints.split()) or f"perf ended with {recorded.status}"
            raise ReportError(find_trouble(said), said[:500])
        cpu_seconds, lost = recorded.cpu_seconds, 0
        reports: dict[str, Report] = {}
        for name, process in processes.items():
            command = (settings.program, "kvm", "-i", data, "stat", "report", "-p", process)
            ended = _run(command, private, _REPORT_SECONDS)
            cpu_seconds += ended.cpu_seconds
            # perf prints its table to either of the two, as it thinks that it has a terminal.
            said = f"{ended.output}\n{ended.complaints}"
            report = parse_report(said, f"{recorded.complaints}\n{ended.complaints}")
            lost = max(lost, report.lost)
            reports[name] = replace(report, lost=0)
        return Window(seconds, reports, cpu_seconds, data.stat().st_size, lost)


def _record(
    settings: PerfSettings, data: Path, private: str, stopping: Callable[[], bool]
) -> _Ended:
    command: tuple[object, ...] = (
        settings.program,
        *("kvm", "stat", "record", "--all-cpus", "-o", data),
        *("-m", settings.buffer_pages, f"--max-size={settings.most_megabytes}M"),
        # perf begins to record when this does, however long it takes to get ready.
        *("--", "sleep", settings.window_seconds),
    )
    return _run(command, private, settings.window_seconds + _END_SECONDS, stopping)


def _run(
    command: Iterable[object],
    private: str,
    timeout: float,
    stopping: Callable[[], bool] = lambda: False,
) -> _Ended:
    """Run a program, and what it has used; ``stopping`` tells when it is to end early."""
    # perf keeps copies of programs that it has seen under HOME, and reads settings there.
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "HOME": private}
    with Path(private, "out").open("w+b") as output, Path(private, "err").open("w+b") as errors:
        try:
            process = subprocess.Popen(  # noqa: S603 - the host's configuration names it
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=environment,
                cwd=private,
                start_new_session=True,  # a Ctrl-C is for us, and we end it in good order
            )
        except OSError as error:
            trouble = Trouble.NOT_INSTALLED
            raise ReportError(trouble, f"{error.filename}: {error.strerror}") from error
        status, used = _wait(process, timeout, stopping)
        output.seek(0)
        errors.seek(0)
        said = (output.read().decode(errors="replace"), errors.read().decode(errors="replace"))
    return _Ended(status, *said, used)


def _wait(
    process: subprocess.Popen[bytes], timeout: float, stopping: Callable[[], bool]
) -> tuple[int, float]:
    """Wait for a program that is ours; one that takes too long is ended."""
    end, asked = time.monotonic() + timeout, False
    while True:
        # Not Popen's own wait, which forgets what the process has used.
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_utime + usage.ru_stime
        if not asked and stopping():
            process.send_signal(signal.SIGINT)
            end, asked = time.monotonic() + _END_SECONDS, True
        if time.monotonic() > end:
            process.kill()
        time.sleep(_POLL_SECONDS)
