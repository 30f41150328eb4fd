"""The table of the virtual servers' metrics: names, units, meaning, and where else they are seen.

One row a metric. What is exported, the documentation and the tests are made from it. The bulk
statistics of libvirt give most of them; those rows carry libvirt's key and what it is multiplied
by to get to seconds and bytes.
"""

from __future__ import annotations

from reconvirt.metrics.other_rows import OTHER_ROWS
from reconvirt.metrics.rows import Kind, Row

_NANO, _KIB, _MIB = 1e-9, 1024, 1024 * 1024
_DOMSTATS = "domstats"

SERVER_ROWS: tuple[Row, ...] = (
    # libvirt gives a virtual server that is shut off the CPU time of another control group.
    Row(
        "cpu_seconds",
        "counter",
        "CPU time used by QEMU and the guest.",
        key="cpu.time",
        scale=_NANO,
        virsh="dominfo, cpu-stats --total",
        running=True,
    ),
    Row(
        "cpu_user_seconds",
        "counter",
        "CPU time in user space, the guest's own included.",
        key="cpu.user",
        scale=_NANO,
        virsh="cpu-stats --total",
        running=True,
    ),
    Row(
        "cpu_system_seconds",
        "counter",
        "CPU time in the host's kernel.",
        key="cpu.system",
        scale=_NANO,
        virsh="cpu-stats --total",
        running=True,
    ),
    Row(
        "halt_polling_seconds",
        "counter",
        "Time in which the host's kernel polled for a halted vCPU to wake up.",
        ("result",),
        "cpu.haltpoll.success.time",
        _NANO,
        _DOMSTATS,
        running=True,
        sort="success",
    ),
    Row(
        "halt_polling_seconds",
        "counter",
        "Time in which the host's kernel polled for a halted vCPU to wake up.",
        ("result",),
        "cpu.haltpoll.fail.time",
        _NANO,
        _DOMSTATS,
        running=True,
        sort="fail",
    ),
    Row(
        "memory_bytes",
        "gauge",
        "Memory that the virtual server has now, its balloon taken into account.",
        key="balloon.current",
        scale=_KIB,
        virsh="dominfo, dommemstat (actual)",
    ),
    Row(
        "memory_maximum_bytes",
        "gauge",
        "Memory that the virtual server may have at most.",
        key="balloon.maximum",
        scale=_KIB,
        virsh="dominfo",
    ),
    Row(
        "memory_resident_bytes",
        "gauge",
        "Memory of the host that QEMU occupies.",
        key="balloon.rss",
        scale=_KIB,
        virsh="dommemstat (rss)",
    ),
    Row(
        "memory_unused_bytes",
        "gauge",
        "Memory that the guest leaves entirely unused, as it says.",
        key="balloon.unused",
        scale=_KIB,
        virsh="dommemstat (unused)",
    ),
    Row(
        "memory_available_bytes",
        "gauge",
        "Memory that the guest's kernel manages, as it says.",
        key="balloon.available",
        scale=_KIB,
        virsh="dommemstat (available)",
    ),
    Row(
        "memory_usable_bytes",
        "gauge",
        "Memory that the guest could use without swapping, as it says.",
        key="balloon.usable",
        scale=_KIB,
        virsh="dommemstat (usable)",
    ),
    Row(
        "memory_disk_caches_bytes",
        "gauge",
        "Memory in the guest's disk caches, as it says.",
        key="balloon.disk_caches",
        scale=_KIB,
        virsh="dommemstat (disk_caches)",
    ),
    Row(
        "memory_swap_in_bytes",
        "counter",
        "Memory that the guest has read back from its swap space, as it says.",
        key="balloon.swap_in",
        scale=_KIB,
        virsh="dommemstat (swap_in)",
    ),
    Row(
        "memory_swap_out_bytes",
        "counter",
        "Memory that the guest has written to its swap space, as it says.",
        key="balloon.swap_out",
        scale=_KIB,
        virsh="dommemstat (swap_out)",
    ),
    Row(
        "memory_major_faults",
        "counter",
        "Page faults of the guest that needed a disk, as it says.",
        key="balloon.major_fault",
        virsh="dommemstat (major_fault)",
    ),
    Row(
        "memory_minor_faults",
        "counter",
        "Other page faults of the guest, as it says.",
        key="balloon.minor_fault",
        virsh="dommemstat (minor_fault)",
    ),
    Row(
        "memory_huge_page_allocations",
        "counter",
        "Huge pages that the guest has allocated, as it says.",
        key="balloon.hugetlb_pgalloc",
        virsh="dommemstat (hugetlb_pgalloc)",
    ),
    Row(
        "memory_huge_page_failures",
        "counter",
        "Huge pages that the guest could not allocate, as it says.",
        key="balloon.hugetlb_pgfail",
        virsh="dommemstat (hugetlb_pgfail)",
    ),
    Row(
        "memory_guest_report_timestamp_seconds",
        "gauge",
        "When the guest has last told of its memory.",
        key="balloon.last-update",
        virsh="dommemstat (last_update)",
    ),
    Row("iothreads", "gauge", "How many I/O threads there are.", key="iothread.count"),
    Row(
        "dirty_rate_bytes_per_second",
        "gauge",
        "Memory written by the guest a second, as last measured by domdirtyrate-calc.",
        key="dirtyrate.megabytes_per_second",
        scale=_MIB,
        virsh=_DOMSTATS,
    ),
)

VCPU_ROWS: tuple[Row, ...] = (
    Row(
        "vcpu_seconds",
        "counter",
        "CPU time used by a vCPU.",
        ("vcpu",),
        "time",
        _NANO,
        "vcpuinfo",
    ),
    Row(
        "vcpu_wait_seconds",
        "counter",
        "Time in which a vCPU wanted to run and waited for I/O or a lock of the host.",
        ("vcpu",),
        "wait",
        _NANO,
        _DOMSTATS,
    ),
    Row(
        "vcpu_delay_seconds",
        "counter",
        "Time in which a vCPU wanted to run and no CPU of the host was free: what is stolen.",
        ("vcpu",),
        "delay",
        _NANO,
        _DOMSTATS,
    ),
    Row("vcpu_halted", "gauge", "Whether the guest has halted a vCPU.", ("vcpu",), "halted"),
)

BLOCK_LABELS = ("device", "source")
_BLOCK: tuple[tuple[str, Kind, str, float, str, str], ...] = (
    ("block_read_requests", "counter", "rd.reqs", 1, "domblkstat", "Read requests."),
    ("block_read_bytes", "counter", "rd.bytes", 1, "domblkstat", "Bytes read."),
    ("block_read_seconds", "counter", "rd.times", _NANO, "domblkstat", "Time in reads."),
    ("block_write_requests", "counter", "wr.reqs", 1, "domblkstat", "Write requests."),
    ("block_write_bytes", "counter", "wr.bytes", 1, "domblkstat", "Bytes written."),
    ("block_write_seconds", "counter", "wr.times", _NANO, "domblkstat", "Time in writes."),
    ("block_flush_requests", "counter", "fl.reqs", 1, "domblkstat", "Flush requests."),
    ("block_flush_seconds", "counter", "fl.times", _NANO, "domblkstat", "Time in flushes."),
    ("block_errors", "counter", "errors", 1, "domblkstat", "I/O errors, where counted."),
    (
        "block_allocation_bytes",
        "gauge",
        "allocation",
        1,
        "domblkinfo",
        "The highest place written to, or what the image occupies.",
    ),
    ("block_capacity_bytes", "gauge", "capacity", 1, "domblkinfo", "Size as the guest has it."),
    (
        "block_physical_bytes",
        "gauge",
        "physical",
        1,
        "domblkinfo",
        "Size of the file or device that holds it.",
    ),
    (
        "block_threshold_bytes",
        "gauge",
        "threshold",
        1,
        "domblkthreshold",
        "The place from which on libvirt sends an event when it is written to.",
    ),
)
BLOCK_ROWS: tuple[Row, ...] = tuple(
    Row(name, kind, text, BLOCK_LABELS, key, scale, virsh)
    for name, kind, key, scale, virsh, text in _BLOCK
)

INTERFACE_LABELS = ("interface", "mac", "source")
INTERFACE_ROWS: tuple[Row, ...] = tuple(
    Row(f"interface_{way}_{what}", "counter", text, INTERFACE_LABELS, key, virsh="domifstat")
    for way, what, key, text in (
        ("receive", "bytes", "rx.bytes", "Bytes that the guest has received."),
        ("receive", "packets", "rx.pkts", "Packets that the guest has received."),
        ("receive", "errors", "rx.errs", "Errors in receiving."),
        ("receive", "drops", "rx.drop", "Packets dropped in receiving."),
        ("transmit", "bytes", "tx.bytes", "Bytes that the guest has sent."),
        ("transmit", "packets", "tx.pkts", "Packets that the guest has sent."),
        ("transmit", "errors", "tx.errs", "Errors in sending."),
        ("transmit", "drops", "tx.drop", "Packets dropped in sending."),
    )
)

IOTHREAD_ROWS: tuple[Row, ...] = tuple(
    Row(f"iothread_{name}", "gauge", text, ("iothread",), key, scale, "domstats --iothread")
    for name, key, scale, text in (
        ("poll_maximum_seconds", "poll-max-ns", _NANO, "How long an I/O thread polls at most."),
        ("poll_grow", "poll-grow", 1, "The factor by which the polling time grows; 0: QEMU's."),
        ("poll_shrink", "poll-shrink", 1, "The divisor by which it shrinks; 0: QEMU's."),
    )
)

JOB_ROWS: tuple[Row, ...] = tuple(
    Row(f"job_{name}", "gauge", text, (), key, scale, "domjobinfo")
    for name, key, scale, text in (
        ("elapsed_seconds", "time_elapsed", 1e-3, "How long the job has been going on."),
        ("remaining_seconds", "time_remaining", 1e-3, "How long it will go on, as estimated."),
        ("downtime_seconds", "downtime", 1e-3, "How long the guest stands still, as expected."),
        ("data_total_bytes", "data_total", 1, "Data to be moved."),
        ("data_processed_bytes", "data_processed", 1, "Data moved so far."),
        ("data_remaining_bytes", "data_remaining", 1, "Data not moved yet."),
        ("memory_total_bytes", "memory_total", 1, "Memory to be moved."),
        ("memory_processed_bytes", "memory_processed", 1, "Memory moved so far."),
        ("memory_remaining_bytes", "memory_remaining", 1, "Memory not moved yet."),
        ("memory_bytes_per_second", "memory_bps", 1, "How fast memory is moved."),
        ("memory_iterations", "memory_iteration", 1, "Passes over the memory so far."),
        ("dirty_pages_per_second", "memory_dirty_rate", 1, "Pages written by the guest a second."),
    )
)

ALL_ROWS: tuple[Row, ...] = (
    *OTHER_ROWS,
    *SERVER_ROWS,
    *VCPU_ROWS,
    *BLOCK_ROWS,
    *INTERFACE_ROWS,
    *IOTHREAD_ROWS,
    *JOB_ROWS,
)
