"""Reading perf's tables: every form in which it prints them, and its complaints.

The files of perf 6.12 are what it printed of one recording of a guest on x86. That machine's kernel
traced MMIO and ports, but no entries and exits: every first and third event was made one by hand.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconvirt.metrics.perf_report import (
    Exit,
    Report,
    ReportError,
    Trouble,
    find_trouble,
    merge_exits,
    parse_report,
    parse_reports,
)

PERF = Path(__file__).parent / "perf"


def read(name: str) -> Report:
    """The report in one file."""
    return parse_report((PERF / f"{name}.txt").read_text(encoding="utf-8"))


def by_reason(report: Report) -> dict[str, Exit]:
    return {each.reason: each for each in report.exits}


def test_the_table_of_the_book() -> None:
    report = read("s390x-book")
    assert ("vmexit", 42377, 29, 0, ()) == (
        report.event,
        report.count,
        len(report.exits),
        report.lost,
        report.unread,
    )
    assert report.seconds == pytest.approx(3.17816635)
    assert report.count == sum(each.count for each in report.exits)
    exits = by_reason(report)
    assert "Host interruption" == report.exits[0].reason
    virtio = exits["DIAG (0x500) KVM virtio functions"]
    assert (13011, 1.15e-6, 2144.75e-6, 4.65e-6) == pytest.approx(
        (virtio.count, virtio.least, virtio.most, virtio.mean)
    )
    assert virtio.seconds == pytest.approx(13011 * 4.65e-6)
    assert {"0xB2 TSCH", "SIGP set architecture", "I/O request", "Wait state"} <= exits.keys()


@pytest.mark.parametrize(
    ("name", "event", "reasons", "first"),
    [
        ("x86-old", "vmexit", 8, "MSR_WRITE"),
        ("x86-new", "vmexit", 6, "MSR_WRITE"),
        ("x86-oldest", "vmexit", 2, "HLT"),
        ("x86-mmio", "mmio", 3, "0xfee00300:W"),
        ("x86-ioport", "ioport", 3, "0x3f8:POUT"),
        ("x86-msr", "msr", 3, "0x6e0:W"),
        ("x86-6.12-vmexit", "vmexit", 4, "npf"),
        ("x86-6.12-mmio", "mmio", 6, "0xfee00300:W"),
        ("x86-6.12-ioport", "ioport", 53, "0x3c9:POUT"),
        ("x86-6.12-browser", "vmexit", 4, "npf"),
        ("arm64", "vmexit", 6, "DABT_LOW"),
        ("arm64-traps", "vmexit", 2, "TRAP"),
        ("riscv-browser", "vmexit", 8, "STORE_GUEST_PAGE_FAULT"),
        ("s390x-nanoseconds", "vmexit", 5, "SIE exit: Partial-execution"),
        ("s390x-live-lost", "vmexit", 6, "SIE exit: Partial-execution"),
    ],
)
def test_every_form(name: str, event: str, reasons: int, first: str) -> None:
    report = read(name)
    assert (event, reasons, first) == (report.event, len(report.exits), report.exits[0].reason)
    assert report.count == sum(each.count for each in report.exits)
    assert report.seconds == pytest.approx(sum(each.seconds for each in report.exits), rel=0.01)
    assert not report.unread


def test_pipe_and_browser_say_the_same() -> None:
    """The same recording, read by perf 6.12 into a pipe and in its browser, to its precision."""
    pipe, browser = by_reason(read("x86-6.12-vmexit")), by_reason(read("x86-6.12-browser"))

    assert list(pipe) == list(browser)
    for reason, one in pipe.items():
        other = browser[reason]
        assert one.count == other.count
        for name in ("seconds", "least", "most", "mean"):
            # A mean of two decimals of a microsecond, times the count.
            slack = 5e-9 * (one.count if name == "seconds" else 2)
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=slack)


def test_least_and_most_are_unknown_where_perf_does_not_print_them() -> None:
    halt = read("x86-oldest").exits[0]
    assert (None, None) == (halt.least, halt.most)
    assert halt.mean == pytest.approx(0.0025005)


def test_nanoseconds_come_out_as_seconds() -> None:
    exits = by_reason(read("s390x-nanoseconds"))
    assert exits["Wait state"].seconds == pytest.approx(40 * 76655.25e-6)
    assert exits["Wait state"].least == pytest.approx(3300e-6)
    assert exits["Wait state"].most == pytest.approx(464600e-6)


def test_lost_events_are_told_and_several_tables_are_read() -> None:
    text = (PERF / "s390x-live-lost.txt").read_text(encoding="utf-8")
    assert [(2, 3), (6, 12)] == [(len(each.exits), each.lost) for each in parse_reports(text)]
    again = parse_report(text, "Warning:\nProcessed 9 events and lost 4 chunks!\n\nCheck IO/CPU")
    assert 16 == again.lost


def test_rows_of_one_name_are_one() -> None:
    unknown = by_reason(read("s390x-live-lost"))["UNKNOWN"]
    assert 10 == unknown.count
    assert (0.5e-6, 9e-6) == pytest.approx((unknown.least, unknown.most))
    assert unknown.mean == pytest.approx((4 * 2.0 + 6 * 3.0) / 10 * 1e-6)
    assert None is merge_exits([Exit("a", 1, 1.0, None, None, 1.0)] * 2)[0].least


def test_an_empty_report_is_a_report() -> None:
    assert Report("vmexit", (), 0, 0.0) == read("empty")
    assert Report("vmexit", (), 0, 0.0) == parse_report(
        (PERF / "empty.txt").read_text(encoding="utf-8").replace("0.00us", "-nanus")
    )


def test_what_cannot_be_read_is_kept() -> None:
    text = (PERF / "x86-old.txt").read_text(encoding="utf-8")
    report = parse_report(text.replace("     12044 ", "     many! "))
    assert 7 == len(report.exits)
    assert 1 == len(report.unread)
    assert report.unread[0].startswith("HLT")


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        ("bash: perf: command not found", Trouble.NOT_INSTALLED),
        ("E: linux-perf-6.2 not found\nWARNING: perf not found for kernel 6.2", "not installed"),
        (
            (
                "event syntax error: 'kvm:kvm_entry'\n \\___ can't access trace events\n\n"
                "Error:\tNo permissions to read /sys/kernel/tracing/events/kvm/kvm_entry"
            ),
            Trouble.NOT_PERMITTED,
        ),
        (
            (
                "Error:\nAccess to performance monitoring is limited.\n"
                "Consider adjusting /proc/sys/kernel/perf_event_paranoid setting"
            ),
            Trouble.NOT_PERMITTED,
        ),
        (
            "event syntax error: 'kvm:kvm_s390_sie_enter'\n   \\___ unknown tracepoint",
            Trouble.NO_TRACEPOINTS,
        ),
        ("Failed to add kvm:kvm_exit tracepoint to the list", Trouble.NO_TRACEPOINTS),
        ("CPU 6/0x1 is not supported.", Trouble.NOT_SUPPORTED),
        ("perf: 'kvm' is not a perf-command. See 'perf --help'.", Trouble.NOT_SUPPORTED),
        (
            (
                "failed to open perf.data.guest: No such file or directory\n"
                "Initializing perf session failed"
            ),
            Trouble.NO_DATA,
        ),
        ("incompatible file format (rerun with -v to learn more)", Trouble.NO_DATA),
        ("segmentation fault", Trouble.UNKNOWN),
    ],
)
def test_complaints(said: str, trouble: Trouble) -> None:
    assert trouble == find_trouble(said)
    with pytest.raises(ReportError) as raised:
        parse_report("", said)
    assert trouble == raised.value.trouble
    assert " ".join(said.split()) == str(raised.value)


NAMES = st.from_regex(
    r"[A-Za-z0-9][A-Za-z0-9()/:_.%+-]{0,9}( [A-Za-z0-9()/:_%-]{1,9}){0,3}", fullmatch=True
)
HUNDREDTHS = st.integers(0, 10**9).map(lambda each: each / 100)
ROWS = st.lists(
    st.tuples(NAMES, st.integers(0, 10**12), HUNDREDTHS, HUNDREDTHS, HUNDREDTHS),
    max_size=8,
    unique_by=lambda row: row[0],
)


@given(rows=ROWS, width=st.sampled_from([20, 40]), lost=st.integers(0, 9))
def test_what_is_printed_is_read(
    rows: list[tuple[str, int, float, float, float]], width: int, lost: int
) -> None:
    """Rendered as perf renders it, whatever the names and numbers are."""
    lines = ["", "Analyze events for all VMs, all VCPUs:", ""]
    columns = f"{'Samples':>10} {'Samples%':>9} {'Time%':>9} {'Min Time':>11} {'Max Time':>11} "
    lines += [f"{'VM-EXIT':>{width}} {columns}{'Avg time':>16} ", ""]
    for name, count, least, most, mean in rows:
        numbers = f"{count:>10} {1:8.2f}% {float('nan'):8.2f}% {least:9.2f}us {most:9.2f}us "
        lines.append(f"{name:>{width}} {numbers}{mean:9.2f}us ( +-{3.5:7.2f}% )")
    count = sum(row[1] for row in rows)
    lines += ["", f"Total Samples:{count}, Total events handled time:{7.5:.2f}us.", ""]
    lines += [f"\nLost events: {lost}\n"] if lost else []

    report = parse_report("\n".join(lines))

    assert (count, lost, ()) == (report.count, report.lost, report.unread)
    assert report.seconds == pytest.approx(7.5e-6)
    assert [row[:2] for row in rows] == [(each.reason, each.count) for each in report.exits]
    for row, each in zip(rows, report.exits, strict=True):
        assert row[2:] == pytest.approx((each.least * 1e6, each.most * 1e6, each.mean * 1e6))


@given(st.text(max_size=400))
def test_no_text_breaks_it(text: str) -> None:
    with contextlib.suppress(ReportError):
        parse_report(text)
